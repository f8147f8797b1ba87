"""HTTP/1.1 for every process of Frazil: the data path's server and the client for calls between services."""
