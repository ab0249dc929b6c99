"""The chain inside this process: eth-tester, with py-evm."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from gridpact.errors import InputError


def embedded_chain(block_gas: int) -> Any:
    """A new chain with its first block.

    Args:
        block_gas: gas of a block at most.

    Raises:
        InputError: the packages are not there.
    """
    try:
        from eth.vm.forks.shanghai import ShanghaiVM
        from eth_tester import EthereumTester, PyEVMBackend
    except ImportError as error:
        raise InputError(
            "the chain eth-tester needs the Python packages `eth-tester` and `py-evm`: install gridpact again"
        ) from error
    backend = PyEVMBackend(
        genesis_parameters=PyEVMBackend.generate_genesis_params(overrides={"gas_limit": block_gas}),
        vm_configuration=((0, ShanghaiVM),),
    )
    # Of the class as well, which is this chain's own: it is made anew where the chain is taken back to its beginning.
    type(backend.chain).gas_estimator = staticmethod(sufficient_gas)
    backend.chain.gas_estimator = sufficient_gas

    class Tester(EthereumTester):  # type: ignore[misc]
        """Remembers receipts. eth-tester looks for a transaction from the newest block backwards and decodes every one,
        and asks for all receipts of a range of blocks where it is asked for logs."""

        def __init__(self) -> None:
            super().__init__(backend)
            self._receipts: dict[str, dict[str, Any]] = {}  # of blocks, by transaction

        def get_transaction_receipt(self, transaction_hash: str) -> dict[str, Any]:
            known = self._receipts.get(transaction_hash)
            if known is None or not self._stands(known["block_number"], known["block_hash"]):
                known = super().get_transaction_receipt(transaction_hash)
                if known["block_hash"] is not None:
                    self._receipts[transaction_hash] = known
            return deepcopy(known)

        def _stands(self, number: int, block_hash: str) -> bool:
            """Whether a block is still of the chain, which may have been taken back."""
            chain = backend.chain
            if number >= chain.header.block_number:  # of the open block; what was of later ones is still stored
                return False
            header = chain.get_canonical_block_header_by_number(number)
            return bool(block_hash == "0x" + header.hash.hex())

    return Tester()


def sufficient_gas(state: Any, transaction: Any) -> int:
    """A gas limit with which a transaction succeeds, at most some 3 % above the least: what it uses where it has all
    gas of a block, and what calls below it, which get 63/64 of what is left, need more.

    py-evm searches for the least one and runs a transaction some fifteen times; most of what a round took on this chain
    was that.

    Raises:
        eth.exceptions.VMError: it fails with all gas of a block.
    """
    from eth.estimators.gas import binary_gas_search_intrinsic_tolerance

    whole = _run(state, transaction, state.gas_limit)
    whole.raise_if_error()
    used: int = whole.get_gas_used()
    enough: int = min(transaction.intrinsic_gas + used + used // 30, state.gas_limit)
    if not used or not _run(state, transaction, enough).is_error:
        return enough
    searched: int = binary_gas_search_intrinsic_tolerance(state, transaction)
    return searched


def _run(state: Any, transaction: Any, gas: int) -> Any:
    """What comes of a transaction with some gas; the state stays as it is."""
    from eth.vm.spoof import SpoofTransaction

    before = state.snapshot()
    try:
        return state.apply_transaction(SpoofTransaction(transaction, gas=gas, gas_price=0))
    finally:
        state.revert(before)
