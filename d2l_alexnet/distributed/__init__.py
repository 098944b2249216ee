"""Several processes that train one net, over MXNet's own parameter server."""
