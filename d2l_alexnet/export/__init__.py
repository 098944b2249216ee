"""A trained net in formats that others read."""
