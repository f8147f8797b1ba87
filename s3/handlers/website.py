"""The website configuration."""

from __future__ import annotations

from s3.handlers.configuration import deleter, getter, putter
from s3.website import WEBSITE

get_website, put_website, delete_website = getter(WEBSITE), putter(WEBSITE), deleter(WEBSITE)
