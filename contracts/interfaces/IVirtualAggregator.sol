// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAgreeing} from "./IAgreement.sol";
import {IReferee} from "./IReferee.sol";
import {IRounds} from "./IRounds.sol";

/// @title The virtual aggregator: consensus ADMM between households, without an operator whom all must trust
/// @notice Nodes (households 1, 2, ... and, where there is a network to agree on, the grid connection 0) solve their
///         own convex problems at home. Each iteration they submit integer copies of the variables they share with
///         their neighbours in the declared tree, bids for bilateral trades, and partial residuals. The contract
///         adds up the copies (the z-update, eq. 23 of the B-DER final report, kept as an exact integer sum: clients
///         divide), passes the bids on, adds up the residuals and decides when the round has converged.
///
/// @dev Symbols of the report and what they are here.
///
/// | symbol        | here                | unit, scale                            | largest magnitude             |
/// |---------------|---------------------|----------------------------------------|-------------------------------|
/// | n             | theta.n             | nodes that can be enrolled             | 128                           |
/// | rho           | theta.rho           | 1e-9 currency/kW^2 (a base: the client | 2^64 - 1                      |
/// |               |                     | scales it by class of variable)        |                               |
/// | phi           | theta.phi           | 1e-9 currency/kW^2                     | 2^64 - 1                      |
/// | eps_p, eps_d  | theta.eps...        | 1/1000 of a resolution unit, RMS over  | 2^32 - 1                      |
/// |               |                     | the coupled scalars                    |                               |
/// | mu            | theta.mu            | iterations                             | 2^16 - 1                      |
/// | x_u           | copies              | resolution units, biased lanes         | 2^19 (P, Q), 2^15 (V)         |
/// | z             | sums of copies      | resolution units, biased lanes         | 2^21 - 1 in a lane            |
/// | d             | bids                | int16, powerResolutionMilliwatt        | 32,767                        |
/// | r, s          | residual lanes      | resolution units squared               | 2^56 - 1 a node, 2^63 in all  |
///
/// Declared tree. Every node names its parent, its children (a bitmap) and its depth; a root names itself as parent,
/// depth 0. The tree may be the feeder itself (agreement between neighbours) or a star around node 0 (agreement with
/// the grid operator's node); in a round without a network every node is a root without children. When the round
/// starts, the contract keeps what both ends of an edge agree on: a node stays where it is a root, or where its parent
/// stays, lists it and is one less deep; of a node's children those stay that are in the round. Only node 0, the grid
/// connection, can be a root with children, so there is one tree. Nobody can stop a round by a false declaration, and
/// nobody gets into another's blocks. A node holds, in this order, one block (one
/// lane a time step) for each of:
///   own P, own Q                 where the node is not a root
///   own V                        where the node is not a root and has children
///   P, Q of each child           children in ascending order
///   V of its parent              where the parent is not a root
/// so P and Q of line i have two copies (i and its parent), V of node i has 1 + children(i).
///
/// Sums of a closed iteration go out as log data, all blocks in this order, ceil(steps / 12) words each:
///   P, Q of each line            nodes of the round that are not roots, ascending
///   V of each inner node         those of them that have children, ascending
/// A block of which no copy arrived is zero. With the bids in the logs, the copies in the calldata, and the hashes of
/// both in storage, everybody can follow, check and replay a round from the chain alone. Where rounds are sealed, the log
/// has neither bids nor sums, but says where each submission is; the sums follow from the copies, and the head has them.
///
/// Residuals of a node for iteration k, which travel with its submission for k + 1, are functions of public integers,
/// so a false one can be proved (see `accuse`). x are the node's copies, S a block's sum without biases, c the number
/// of its copies in the sum, d_ij the bid of the node to partner j, all of iteration k; ' marks iteration k - 1. A
/// block counts where c >= 2 and the node was present, a bid where both partners were.
///   r_grid    sum over blocks: ceil(sum over t of (c x - S)^2 / c^2)
///   s_grid    sum over blocks: ceil(sum over t of (c' S - c S')^2 / (c c')^2); where the block did not count in
///             k - 1, and for k = 1, with S' = 0 and c' = 1
///   r_trade   sum over bids: (d_ij + d_ji)^2
///   s_trade   ceil(sum over bids of (a - a')^2 / 4), a = d_ij - d_ji; where the bid did not count in k - 1, and for
///             k = 1, with a' = 0
/// Bids of a pair count only where the books of both list each other with the same steps (see Books for books and bids
/// that are malformed). An iteration is judged by the residuals that come with it, unless a node was missing or excluded
/// in it or in the one before: then they are not those of all nodes that are in the round, or not only of them.
///
/// Commitments. A submission is hashed as EIP-712 structured data, whether it is signed or sent directly:
///   h = keccak256(abi.encode(SUBMISSION_TYPEHASH, round, iteration, node, keccak256(copies), keccak256(bids),
///       residuals)), the copies as packed words
/// and a node's commitment is the chain of its submissions in the round, c = keccak256(abi.encode(c, h)), from zero.
/// The head of a round is the chain of its closed iterations, from zero:
///   head = keccak256(abi.encode(head, round, iteration, present, residuals, keccak256(sums)))
///
/// Invariants. Tests bear these numbers.
///   VA1  A node counts once in an iteration.
///   VA2  The sums of a closed iteration equal the sum of the accepted copies, lane by lane, and head commits to them.
///   VA3  Rounds, iterations and phases never run backwards.
///   VA4  A finished round never changes: outcome, commitments and head stay as they are.
///   VA5  Accounts that are not enrolled change nothing, but for relaying what others signed, closing an overdue
///        phase, and accusing; the manager changes nothing while a round runs.
///   VA6  A rejected call changes nothing, and a rejected part of a relayed batch changes nothing but the log.
///   VA7  A relayed submission changes the state exactly as the same submission sent directly.
///   VA8  A round ends: every iteration can be closed after its deadline, and a node that is missing maxMisses times
///        is out.
///   VA9  A node is excluded only for misses, for what the referee finds proved, or where it was asked and goes on
///        without an answer.
///   VA10 Nobody's declaration, silence or exclusion ends the round of the others, but for the grid connection's (node
///        0) where the others stand below it.
///   VA11 The limits are an average over no more bids than books as long as the declared ones can carry, at most one a
///        step for each other node that is enrolled.
///   VA12 No call that a round depends on needs more than 2^24 gas, at any size that can be deployed (see Sizes).
///   VA13 A day is agreed in one round; another one for it replaces that on purpose, and then that counts no longer.
///   VA14 Every accepted submission can be read from calldata and log, without a trace.
///   VA15 A node asks at most three times in a round, and is asked about an iteration once. Questions are asked in sealed
///        rounds only, and neither they nor answers change anything else.
interface IVirtualAggregator is IRounds, IAgreeing {
    /// @notice theta of the report, in its order.
    struct Theta {
        uint16 n; //               nodes that can be enrolled, at most
        uint64 rho; //             penalty of the network agreement, 1e-9 currency/kW^2
        uint64 phi; //             penalty of the trades, 1e-9 currency/kW^2
        uint32 epsPrimalGrid; //   limits on the RMS residuals, 1/1000 resolution unit
        uint32 epsDualGrid;
        uint32 epsPrimalTrade;
        uint32 epsDualTrade;
        uint16 mu; //              most iterations of a round
    }

    /// @notice What theta leaves open.
    struct Setting {
        uint16 steps; //              time steps T of the horizon, 1 to 192
        uint32 stepSeconds; //        length of a time step
        uint32 powerResolutionMilliwatt; // unit of P, Q and bids, mW (mvar)
        uint32 voltageResolution; //  unit of V, 1e-6 p.u. squared
        uint32 phaseSeconds; //       time for declaring, and for each iteration
        uint8 maxMisses; //           iterations that a node may miss before it is out of the round, at least 1
    }

    /// @notice What a node declared for the round, as far as it holds. One storage slot.
    struct Declaration {
        uint32 round; //      the round it was made for; 0: never
        uint8 parent;
        uint8 depth;
        uint16 bids; //       number of bid scalars in each of its submissions
        uint128 children; //  bitmap; from the start of the round, those that are in it
        uint8 misses; //      iterations that were closed without it
        bool out; //          not in the round (any longer)
    }

    /// @notice Who is in the current round, from its start. Two storage slots.
    struct Roster {
        uint128 nodes; //  all
        uint128 active; // those that are not out
        uint128 lines; //  those that are not roots: they have P and Q
        uint128 inner; //  those of them that have children: they have V
    }

    /// @notice A submission with its author's EIP-712 signature (EIP-2098 form), for a batch.
    struct Signed {
        uint8 node;
        uint256[] copies;
        bytes bids;
        uint256 residuals;
        bytes32 r;
        bytes32 vs;
    }

    /// @param book which partners and steps the node's bids refer to (see `Books`), or the limits that the grid
    ///             operator's node publishes (see `Feeder`); the contract passes it on and keeps its hash
    event Declared(
        uint32 indexed round, uint8 indexed node, uint8 parent, uint8 depth, uint128 children, uint16 bids, bytes book
    );
    /// @notice The nodes that are in the round, and the blocks there are (see Roster).
    event RoundStarted(uint32 indexed round, uint128 nodes, uint128 lines, uint128 inner);
    /// @notice A node's accepted submission. Its copies stand in the calldata of the same transaction, or in `Forwarded`.
    /// @param commitment the node's commitment with this submission: readers open it without folding from the start
    event Submitted(
        uint32 indexed round,
        uint16 indexed iteration,
        uint8 indexed node,
        uint256 residuals,
        bytes32 commitment,
        bytes bids
    );
    /// @notice The same where rounds are sealed: bids and residuals stand in the calldata, too. A submission that came through
    ///         another contract leaves `Submitted` there, too.
    event Sealed(uint32 indexed round, uint16 indexed iteration, uint8 indexed node, bytes32 commitment);
    /// @notice The copies of an accepted submission that came through another contract: then they may not stand in the
    ///         calldata of the transaction, and nobody should need a trace of it. Comes right after its `Submitted`.
    event Forwarded(uint32 indexed round, uint16 indexed iteration, uint8 indexed node, uint256[] copies);
    /// @notice A part of a relayed batch did not count. `reason`: the custom error that a direct submission would
    ///         have met.
    event Skipped(uint32 indexed round, uint16 indexed iteration, uint8 indexed node, bytes reason);
    /// @notice A round ends within other limits than theta's: so many percent of each.
    event LimitsSet(uint32 indexed round, uint16 percent);
    /// @param present   bitmap of the nodes whose copies are in the sums
    /// @param residuals the four sums of squares of the iteration before: r_grid, s_grid, r_trade, s_trade from the
    ///                  most significant 64-bit lane down
    /// @param head      the head with this iteration: a reader whose own fold differs has seen another history (the
    ///                  chain was re-organised) and reads the round anew
    /// @param sums      all blocks, see above; none where rounds are sealed
    event IterationClosed(
        uint32 indexed round,
        uint16 indexed iteration,
        uint128 present,
        uint256 residuals,
        bytes32 head,
        uint256[] sums
    );
    /// @notice A node was asked, in the open iteration, what its partners' parts are in what it said about another one.
    event Asked(uint32 indexed round, uint16 indexed iteration, uint8 indexed node, uint16 about);
    /// @param told see the library Answers
    event Answered(uint32 indexed round, uint16 indexed iteration, uint8 indexed node, uint16 about, bytes told);
    error TooLarge(uint16 n, uint16 steps);
    error TooManyBids(uint256 most, uint256 bids);
    error WrongIteration(uint16 current, uint16 given);
    error WrongHistory(uint16 current, uint16 given);
    error AlreadySubmitted(uint8 node, uint16 iteration);
    error WrongSignature(uint8 node);
    error TopologyMismatch(uint8 parent, uint8 child);
    error TooManyChildren(uint8 node, uint256 children);
    error LaneOverflow(uint256 word, uint256 value);
    error ResidualOverflow(uint256 residuals);
    error CannotAsk(uint8 node, uint16 about);
    error NotAsked(uint8 node, uint16 about);
    error StillTime(uint8 node, uint16 about);

    // ------------------------------------------------------------------ manager, between rounds

    /// @notice Opens a round as `openRoundOf` does, which ends within other limits than theta's: so many percent of each
    ///         of the four. What is agreed anew about the rest of a day needs not be as near as what was agreed of all
    ///         of it. At most a hundred times as much.
    /// @param agreed the round that is replaced; 0 where the day was agreed in none
    function openRoundWithin(uint8 product, uint32 day, uint32 agreed, uint16 percent) external returns (uint32 round);

    // ------------------------------------------------------------------ nodes

    /// @notice Step 2: declares participation. The last of the enrolled nodes to declare (or abstain) starts the first
    ///         iteration; so does `closeOverdue` after the deadline, with those that have declared.
    /// @param parent   pi(i); the node itself where it is a root
    /// @param children delta(i), bit k for node k; at most 31 where the node is not a root (a lane's width)
    /// @param depth    distance to the root: with it, agreeing parents and children cannot form a cycle
    /// @param bids     number of bid scalars in each of the node's submissions: no more than the book can carry, which
    ///                 is one a step for each enrolled partner that it lists; nor than 2^16 / (theta.n - 1)
    /// @param book     what they refer to
    function declare(
        uint32 round, uint8 parent, uint128 children, uint8 depth, uint16 bids, bytes calldata book
    ) external;

    /// @notice Steps 3 and 5 in one: the node's copies, bids, and its partial residuals of the iteration before.
    ///         The submission that completes the iteration closes it (the z-update and step 6).
    ///         After its deadline an iteration still takes submissions until somebody closes it: late copies are better
    ///         than none, and so a round does not hang on a call of closeOverdue.
    /// @param history   the last two bytes of the head that the submission builds on. When a chain is re-organised, an
    ///                  old transaction must not count in an iteration that followed others: its residuals would be
    ///                  false there, and an honest node excluded
    /// @param copies    the blocks of this node, in the order given above, ceil(steps / 12) words each
    /// @param bids      2 bytes a declared bid scalar; where rounds are sealed, up to 3 bytes a step may follow (see Seals)
    /// @param residuals four 64-bit lanes: r_grid, s_grid, r_trade, s_trade; ignored in the first iteration
    function submit(
        uint32 round,
        uint16 iteration,
        uint16 history,
        uint256[] calldata copies,
        bytes calldata bids,
        uint256 residuals
    ) external;

    /// @notice Where rounds are sealed: asks a node for each partner's part of the residuals of trades that it claimed about
    ///         an iteration, and of what it submitted for the pool in it. Both have to be there: the iteration after it is
    ///         closed. A node asks at most three times in a round, and nobody is asked twice about an iteration. A question
    ///         stops nothing, and an answer tells no bid.
    function ask(uint32 round, uint8 node, uint16 about) external;

    /// @notice Answers such a question. What is false in it can be proved (see SealedReferee).
    function answer(uint32 round, uint16 about, bytes calldata told) external;

    // ------------------------------------------------------------------ anyone

    /// @notice Excludes a node that was asked, and has submitted two or more iterations later without an answer.
    function accuseOfSilence(uint32 round, uint8 node, uint16 about) external;

    /// @notice Submits for the authors of a batch. What is wrong with one part (not in the round, present already,
    ///         lengths, lanes, signature) makes that part not count, and leaves a `Skipped` in the log; the others
    ///         count. Reverts only where the round or iteration is not the open one.
    function relay(uint32 round, uint16 iteration, Signed[] calldata batch) external;

    /// @notice Excludes a node from the running round, where the referee finds the evidence against it conclusive
    ///         (see IReferee; it reverts where it does not).
    function accuse(uint32 round, uint8 node, bytes calldata evidence) external;

    // ------------------------------------------------------------------ views

    function theta() external view returns (Theta memory);
    function setting() external view returns (Setting memory);
    function roster() external view returns (Roster memory);
    function rosterOf(uint8 product) external view returns (Roster memory);
    function declaration(uint8 node) external view returns (Declaration memory);
    function declarationOf(uint8 product, uint8 node) external view returns (Declaration memory);
    /// @notice The chain of the node's submissions in the round (see above; zero before the first), and keccak256 of
    ///         the book that it declared.
    function commitment(uint32 round, uint8 node) external view returns (bytes32 submissions, bytes32 book);
    /// @notice Where a node was asked about an iteration (0: it was not), and the lower 240 bits of the keccak256 of what it
    ///         answered (0: nothing yet).
    function question(uint32 round, uint8 node, uint16 about) external view returns (uint16 askedIn, uint240 told);
    /// @notice Number of words in a submission of the node, from its declaration.
    function copiesLength(uint8 node) external view returns (uint256);
    function copiesLengthOf(uint8 product, uint8 node) external view returns (uint256);
    /// @notice Number of coupled scalars (copies) of the network and of bids, over all nodes that are not out: what
    ///         the RMS divides by.
    function scalars() external view returns (uint64 grid, uint64 trade);
    function scalarsOf(uint8 product) external view returns (uint64 grid, uint64 trade);
    /// @notice The sums of the blocks of one node in the open iteration, in the order of its copies, as far as it has
    ///         come: a star's centre hears the others before it submits itself.
    /// @return iteration the open iteration
    /// @return present   bitmap of the nodes whose copies are in the sums. A block none of whose holders is present
    ///                   yet has a meaningless sum
    /// @return sums      biased lanes: subtract the bias once for each holder that is present
    function running(uint8 node) external view returns (uint16 iteration, uint128 present, uint256[] memory sums);
    function runningOf(uint8 product, uint8 node)
        external
        view
        returns (uint16 iteration, uint128 present, uint256[] memory sums);
    /// @notice The EIP-712 digest that the node signs for a relayed submission: nested structured data of domain
    ///         ("gridpact", "1"),
    ///           Relayed(Submission submission,bytes32 head)Submission(uint32 round,...,uint256 residuals)
    ///         with h as the hash of the submission, and the current head, so that the signature holds for this history
    ///         of the chain only (see `submit`).
    function digest(
        uint32 round, uint16 iteration, uint8 node, uint256[] calldata copies, bytes calldata bids, uint256 residuals
    ) external view returns (bytes32);
    /// @notice Where the code is that is run seldom (see Clerk).
    function clerk() external view returns (address);
    /// @notice What decides on accusations.
    function referee() external view returns (IReferee);
}
