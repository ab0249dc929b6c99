"""The chain: networks, accounts, both contracts and their events. Web3 is imported only here; integers."""
