"""Transports with little between the kernel and the protocol, and the reactor that dispatches to them."""
