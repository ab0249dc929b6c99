// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title What was agreed in a round, as far as who settles it must know
/// @notice One for each way to agree. A settlement asks it, and knows nothing of how the nodes agreed.
interface IAgreement {
    /// @notice What the commitment to a node's last submission of the round was made from. What a way to agree does not
    ///         need stays empty.
    struct Opening {
        bytes book;
        bytes bids;
        bytes32 before; //    the node's commitment before that submission
        bytes32 copies; //    keccak256 of the packed copies
        uint256 residuals;
    }

    /// @notice What one household states about its trades with one partner.
    struct Statement {
        uint8 partner;
        bytes trades;
        Opening opening; // of the partner; unused where the caller is the higher node
    }

    error NoMarket();

    /// @notice Time steps of what is agreed.
    function steps() external view returns (uint16);

    /// @notice Whether nodes trade with all at once, and pay where they do (IMarket). Then they state nothing about
    ///         pairs, and `requireTraded` says what each has traded.
    function isMarket() external view returns (bool);

    /// @notice Requires that this is all that a node has traded with all at once in a round that is over; reverts where
    ///         it is not, or where it can still change. Only of a market.
    /// @param trades entries as in a statement (see ITradeSettlement), energy positive where the node sells
    function requireTraded(uint32 round, uint8 node, bytes calldata trades) external view;

    /// @notice Requires that these trades fit what was agreed; reverts where they do not, or where an opening is false
    ///         (DoesNotFitBids and WrongOpening of ITradeSettlement).
    /// @param node       the lower node of the pairs
    /// @param statements about the trades with its partners
    /// @param which      bit i: statement i is looked at
    /// @param own        opening of the node
    function requireFit(
        uint32 round, uint8 node, Statement[] calldata statements, uint256 which, Opening calldata own
    ) external view;
}

/// @title What has a way to agree
interface IAgreeing {
    /// @notice Who says whether trades fit what was agreed.
    function agreement() external view returns (IAgreement);
}
