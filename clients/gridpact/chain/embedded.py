"""The chain inside this process: eth-tester, with py-evm."""

from __future__ import annotations

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
    return EthereumTester(backend)


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
