// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAtOnePrice} from "./IAtOnePrice.sol";

/// @title A call auction of sealed bids at one price a step, for all steps of a day at once
/// @notice A round has three phases of the same length. Nodes commit to their bids by a hash, and lock a bond (Declaring;
///         who abstains has no bids). Then they reveal them, and lock what they could have to pay at their own limits
///         (iteration 1). Then anybody posts how the revealed bids are cleared, which is checked and not worked out here
///         (iteration 2): it passes only where it is the one clearing that the rule below has. It pays all at once, and the
///         round has converged. Who has committed and has not revealed loses the bond then, in equal parts to those who
///         have, and what that leaves to the first of them. A round in which nobody reveals is abandoned, one that nobody
///         clears in time exhausted: nothing is traded, and `release` gives all of its locks back.
///
///         Revealing and clearing are one transaction where all who have committed give what opens their commitments to
///         one who posts them together, once nobody can commit any more, and before anybody has revealed by itself
///         (`clearOpened`). Who is not served so in time reveals, and goes on as above.
///
///         Energies are whole Wh, prices 1e-6 currency/kWh, payments token units.
///
/// @dev What bids and fills are, and which clearing passes: see IAtOnePrice.
///
/// Invariants. Tests bear these numbers.
///   CA1  No trade is outside the limit of either side, nor of the auction, whose prices lie between lowest and highest.
///   CA2  Nothing is filled twice or beyond what was bid; a round is cleared once.
///   CA3  What is sold is bought: the energies of a step add up to zero.
///   CA4  Money is conserved: free and locked deposits add up to totalDeposits; payments and bonds of a clearing to zero.
///   CA5  No other clearing passes than the one of the rule: not one that is worse, and not one that is as good.
///   CA6  Who does not reveal loses its bond and nothing else; who reveals, or abstains, loses nothing of it.
///   CA7  Nobody can commit for another, nor reveal without having been told the salt; and no bids but those committed
///        to, nor in another round or auction.
///   CA8  Before the last node has committed or the time for that is over, nothing of anybody's bids is known.
///   CA9  Nobody pays more than what it has locked.
///   CA10 Every lock ends: by the clearing, or by release once the round is over.
///   CA11 Whoever is silent, the round ends; a clearing of any bids fits one transaction.
interface ICallAuction is IAtOnePrice {
    struct Setting {
        uint16 steps; //        of a day
        uint16 nodes; //        that can be enrolled
        uint32 phaseSeconds; // of each of the three phases
        int32 lowest; //        price, 1e-6 currency/kWh
        int32 highest;
        uint120 bond; //        token units
    }

    event Committed(uint32 indexed round, uint8 indexed node, bytes32 commitment);
    event Revealed(uint32 indexed round, uint8 indexed node, bytes bids);
    /// @notice The bids of all who have committed, ascending, were opened and cleared at once.
    event Opened(uint32 indexed round, bytes[] bids);
    event Released(uint32 indexed round, uint8 indexed node, uint256 amount);

    error EmptyCommitment();
    error WrongCommitment(uint32 round, uint8 node);
    error AlreadyRevealed(uint32 round, uint8 node);
    error RevealedAlready(uint32 round, uint128 nodes);
    error NothingLocked(uint32 round, uint8 node);
    error NotOver(uint32 round);

    /// @notice Seals the caller's bids, and locks its bond.
    /// @param commitment see commitmentOf
    function commit(uint32 round, bytes32 commitment) external;

    /// @notice Opens them, and locks what they could come to. An account without enough free deposit can add some and
    ///         call again, until the phase ends.
    function reveal(uint32 round, bytes32 salt, bytes calldata bids) external;

    /// @notice Opens all commitments and clears, at once. Anybody who was told what opens them. Refused where somebody has
    ///         revealed already, where one commitment is not opened, or where a free deposit lacks what its bids could
    ///         come to.
    /// @param salts of all nodes that have committed, ascending
    function clearOpened(uint32 round, bytes32[] calldata salts, bytes[] calldata bids, bytes[] calldata fills)
        external;

    /// @notice Ends what a node has locked in a round that ended without a clearing. Anybody.
    /// @param bids that it revealed; empty where it did not
    function release(uint32 round, uint8 node, bytes calldata bids) external;

    // ------------------------------------------------------------------ views

    function setting() external view returns (Setting memory);
    /// @notice keccak256 of what binds bids to this auction, a round and an account.
    function commitmentOf(uint32 round, address account, bytes32 salt, bytes calldata bids)
        external
        view
        returns (bytes32);
    /// @notice What bids lock: what they come to where all are filled at their own limits, rounded up.
    function lockOf(bytes calldata bids) external view returns (uint256);
}
