"""The chain: networks, accounts, the contracts and their events. Web3 is imported only here; integers."""
