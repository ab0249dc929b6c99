// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IOutcomes} from "./IOutcomes.sol";

/// @title Who supplies whom, and what is owed to suppliers
/// @notice The part of a settlement that knows suppliers. An account is the customer of the community's supplier, or from a
///         round on of another one, whom the metering account has admitted, and which both wished. The metering account or
///         the manager of the rounds can dismiss such a supplier, and it can dismiss a customer, from the next round that
///         is opened on: then the community's supplier supplies who has no other. Rounds that are open or over stay with
///         whose customer the household was in them.
///
/// @dev What a household cannot pay is in arrears: it is taken from whatever comes into its free deposit, before it can
///      withdraw, and paid to those to whom it is owed in the order in which it began. A debt to one supplier keeps no other
///      one from billing. Arrears end when they are paid, when the supplier forgives them, or by a correction. Suppliers owe
///      nothing: what they draw as customers of others they have to have.
interface ISupply {
    /// @notice The metering account lets an account supply others.
    event SupplierAdmitted(address indexed supplier);
    /// @param round the first in which it supplies nobody
    event SupplierDismissed(address indexed supplier, uint32 round);
    /// @notice An account asks to be a supplier's customer; zero: no longer.
    event SupplierWished(address indexed account, address indexed supplier);
    /// @param round the first for which it holds
    event Supplied(address indexed account, address indexed supplier, uint32 round);
    event ArrearsPaid(address indexed account, address indexed creditor, uint256 amount);
    event ArrearsForgiven(address indexed account, uint256 amount);

    error NotSupplier(address account);
    error NotMetering(address account);
    error NotManager(address account);
    error NotWished(address account, address supplier);
    error NotCustomer(address account, address supplier);
    error AdmittedBefore(address account);
    error TooManySuppliers(uint256 most);
    error InArrears(address account, uint256 amount);
    error SupplierOwesNothing(address account, uint256 missing);

    /// @notice Lets an account supply others. Only the metering account, at most 64 ever. It may not owe anything, and
    ///         cannot from then on. Who was dismissed is not admitted again: its customers would be its own again.
    function admitSupplier(address account) external;

    /// @notice Ends that an account supplies others, from the next round that is opened on. Only the manager of the rounds
    ///         (who owns the aggregator) and the metering account. What it is owed, and what was delivered, stays.
    function dismissSupplier(address account) external;

    /// @notice The caller asks to be a supplier's customer; zero, that it does no longer.
    function wishSupplier(address supplier_) external;

    /// @notice The caller, a supplier, accepts an account that wished it, in all rounds that are opened from now on.
    function supply(address account) external;

    /// @notice The caller, another supplier than the community's, supplies a customer no longer, in all rounds that are
    ///         opened from now on.
    function dismissCustomer(address account) external;

    /// @notice Ends what an account owes the caller, a supplier, as far as it owes it anything.
    function forgive(address account, uint256 amount) external;

    /// @notice The rounds that are settled.
    function aggregator() external view returns (IOutcomes);
    /// @notice The community's supplier: of all who have no other.
    function supplier() external view returns (address);
    /// @notice Who signs readings, vouches, and admits suppliers.
    function metering() external view returns (address);
    /// @notice Whose customer an account is in a round.
    function supplierIn(uint32 round, address account) external view returns (address);
    /// @notice Whether an account may supply others in a round.
    function supplies(uint32 round, address account) external view returns (bool);
    /// @notice What an account owes all suppliers together.
    function arrears(address account) external view returns (uint256);
    /// @notice Whom an account owes, in the order in which they are paid.
    function creditorsOf(address account) external view returns (address[] memory);
    /// @notice What an account owes a supplier.
    function owed(address account, address creditor) external view returns (uint256);
}
