// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDaySettlement} from "../interfaces/IDaySettlement.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Forwards} from "./Forwards.sol";
import {Product} from "./Product.sol";

/// @title Spot trades, options and forwards of a day
/// @notice See IDayProducts. Made by the day's settlement, which lets nobody else move its positions and money.
///
/// @dev Storage.
///
/// | variable  | slots   | written                                             |
/// |-----------|---------|-----------------------------------------------------|
/// | lastId    | 1       | by each offer                                       |
/// | _spots    | mapping | 2 an offer                                          |
/// | _options  | mapping | 2 an option                                         |
/// | _forwards | mapping | 5 a forward                                         |
/// | _reports  | mapping | 1 an oracle and step                                |
contract DayProducts is Forwards {
    constructor(IDaySettlement ledger_, int256 currency)
        Product(ledger_, currency)
        TypedData("gridpact products", "1")
    {}
}
