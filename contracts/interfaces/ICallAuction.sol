// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDeposits} from "./IDeposits.sol";
import {IMarket} from "./IMarket.sol";

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
/// @dev Bids are entries as in a statement (see ITradeSettlement), 9 bytes, steps ascending, one a step: energy above zero
///      offers it, below asks for it, and is never zero; price is the least that who offers takes, the most that who asks
///      pays. So what a node has traded, its fills at the clearing price, has the same form, and that is what it is in
///      `requireTraded`.
///
///      Fills are uint32, one an entry of the bids. With a_i, x_i offers and their fills, b_j, y_j the same of what is
///      asked for, at each step:
///        sum x = sum y                                               as much is sold as bought
///        a+ > b+                                                     no more could be
///        low = max(a, b+) <= high = min(b, a+), price = (low + high) / 2, rounded down
///      where a is the dearest offer with a fill, b the cheapest ask with one, a+ the cheapest offer that is not filled
///      whole, b+ the dearest ask that is not. So better ones are filled whole before worse. Those at a+ share what is left
///      for them in proportion to their energies: each gets that, rounded down, and what this leaves goes to the largest
///      remainders, 1 Wh each, the lowest nodes first among equals. The same at b+. There is one such clearing.
///
///      Payment of node i = floor(S_i * 10^decimals / 10^9) - the same of the node before, with S_i the running sum of
///      energy sold * price over all steps and the nodes up to i: nothing is lost by rounding, and nobody pays more than
///      its limits come to, rounded up.
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
interface ICallAuction is IDeposits, IMarket {
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
    /// @param revealed bitmap of nodes
    /// @param prices   int32 a step; 0 where nothing is traded
    /// @param fills    of each node, ascending
    /// @param payments received, token units, of each, without bonds
    event Cleared(uint32 indexed round, uint128 revealed, bytes prices, bytes[] fills, int256[] payments);
    /// @notice The bids of all who have committed, ascending, were opened and cleared at once.
    event Opened(uint32 indexed round, bytes[] bids);
    event Released(uint32 indexed round, uint8 indexed node, uint256 amount);

    error InvalidSetting();
    error TooLarge(uint256 nodes, uint256 steps);
    error EmptyCommitment();
    error WrongCommitment(uint32 round, uint8 node);
    error AlreadyRevealed(uint32 round, uint8 node);
    error InvalidBids(uint256 entry);
    error WrongBids(uint32 round, uint8 node);
    error FillTooLarge(uint8 node, uint256 step);
    error NotBalanced(uint256 step, int256 sold);
    error NotBest(uint256 step);
    error NotInProportion(uint8 node, uint256 step);
    error RevealedAlready(uint32 round, uint128 nodes);
    error NothingLocked(uint32 round, uint8 node);
    error NotOver(uint32 round);

    /// @notice Seals the caller's bids, and locks its bond.
    /// @param commitment see commitmentOf
    function commit(uint32 round, bytes32 commitment) external;

    /// @notice Opens them, and locks what they could come to. An account without enough free deposit can add some and
    ///         call again, until the phase ends.
    function reveal(uint32 round, bytes32 salt, bytes calldata bids) external;

    /// @notice Clears a round. Anybody.
    /// @param bids  of all nodes that revealed, ascending
    /// @param fills of the same
    function clear(uint32 round, bytes[] calldata bids, bytes[] calldata fills) external;

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
