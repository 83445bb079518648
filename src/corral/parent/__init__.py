"""`corral up`: owns the data folder's lock and the listening sockets, keeps the three processes alive."""
