"""One module for each page: what is asked of the API, and the tree of tags made from it."""
