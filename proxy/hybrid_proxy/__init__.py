"""The front doors: any request at any node reaches the owner of its site."""
