// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

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
/// | n             | theta.n             | nodes that must declare                | 128                           |
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
/// the grid operator's node); in a round without a network every node is a root without children. A node holds,
/// in this order, one block (one lane a time step) for each of:
///   own P, own Q                 where the node is not a root
///   own V                        where the node is not a root and has children
///   P, Q of each child           children in ascending order
///   V of its parent              where the parent is not a root
/// so P and Q of line i have two copies (i and its parent), V of node i has 1 + children(i).
///
/// Invariants. Tests bear these numbers.
///   VA1  A node counts once in an iteration.
///   VA2  The sums of a closed iteration equal the sum of the accepted copies, lane by lane.
///   VA3  Rounds, iterations and phases never run backwards.
///   VA4  A finished round never changes: outcome and last bids stay as they are.
///   VA5  Accounts that are not enrolled change nothing, but for closing an overdue phase; the manager changes nothing
///        while a round runs.
///   VA6  A rejected call changes nothing.
///   VA7  The sums of a closed iteration stay readable until the next iteration is closed.
interface IVirtualAggregator {
    /// @notice Phases of a round. The last three are final.
    enum Phase {
        None, //      no round was opened yet
        Declaring, // nodes declare participation (step 2 of the report)
        Iterating, // nodes submit (steps 3 to 6)
        Converged, // all four residual tests held
        Exhausted, // mu iterations were not enough
        Abandoned //  a deadline passed with nodes undeclared, or with nobody present
    }

    /// @notice theta of the report, in its order.
    struct Theta {
        uint16 n; //               nodes that must declare before a round starts
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
    }

    /// @notice Where a round stands. One storage slot.
    struct Progress {
        uint32 round; //      1, 2, ...; 0 before the first
        uint16 iteration; //  the iteration that is open (or, once final, the last one); 0 while declaring
        Phase phase;
        uint40 deadline; //   unix time after which `closeOverdue` may be called
        uint8 counter; //     nodes that have declared, or submitted in this iteration
        uint128 present; //   the same as a bitmap, bit i for node i
    }

    /// @notice What a node declared for the round. One storage slot.
    struct Declaration {
        uint32 round; //      the round it was made for; 0: never
        uint8 parent;
        uint8 depth;
        uint16 bids; //       number of bid scalars in each of its submissions
        uint128 children; //  bitmap
    }

    /// @notice How a round ended. `phase` is None while it has not.
    struct Outcome {
        Phase phase;
        uint16 iterations; // closed iterations
        uint128 present; //   nodes present in the last of them
    }

    event Enrolled(uint8 indexed node, address indexed account);
    event Expelled(uint8 indexed node, address indexed account);
    event RoundOpened(uint32 indexed round, uint32 day, uint40 deadline);
    /// @param book which partners and steps the node's bids refer to, in the clients' encoding; the contract only
    ///             passes it on
    event Declared(
        uint32 indexed round, uint8 indexed node, uint8 parent, uint8 depth, uint128 children, uint16 bids, bytes book
    );
    event IterationOpened(uint32 indexed round, uint16 indexed iteration, uint40 deadline);
    /// @notice A node's accepted submission. Its copies stand in the calldata of the same transaction.
    event Submitted(uint32 indexed round, uint16 indexed iteration, uint8 indexed node, uint256 residuals, bytes bids);
    /// @param present   bitmap of the nodes whose copies are in the sums
    /// @param residuals the four sums of squares of the iteration before: r_grid, s_grid, r_trade, s_trade from the
    ///                  most significant 64-bit lane down
    event IterationClosed(uint32 indexed round, uint16 indexed iteration, uint128 present, uint256 residuals);
    event RoundEnded(uint32 indexed round, Phase phase, uint16 iterations);

    error InvalidTheta(string what, uint256 value);
    error NodeOutOfRange(uint8 node);
    error NodeTaken(uint8 node, address account);
    error AccountTaken(address account, uint8 node);
    error ZeroAccount(uint8 node);
    error NotEnrolled(address account);
    error EnrolmentFull(uint16 n);
    error EnrolmentIncomplete(uint16 enrolled, uint16 n);
    error LengthMismatch(uint256 expected, uint256 actual);
    error WrongPhase(Phase phase);
    error WrongRound(uint32 current, uint32 given);
    error WrongIteration(uint16 current, uint16 given);
    error AlreadyDeclared(uint8 node);
    error AlreadySubmitted(uint8 node, uint16 iteration);
    error TopologyMismatch(uint8 parent, uint8 child);
    error TooManyChildren(uint8 node, uint256 children);
    error LaneOverflow(uint256 word, uint256 value);
    error ResidualOverflow(uint256 residuals);
    error DeadlineNotPassed(uint40 deadline);

    // ------------------------------------------------------------------ manager, between rounds

    /// @notice Enrols accounts as nodes. Only the manager, only while no round runs.
    function enrol(uint8[] calldata nodes, address[] calldata accounts) external;

    /// @notice Ends the enrolment of nodes. Only the manager, only while no round runs.
    function expel(uint8[] calldata nodes) external;

    /// @notice Opens the next round. Only the manager, only while no round runs and n nodes are enrolled.
    /// @param day a label, yyyymmdd
    function openRound(uint32 day) external returns (uint32 round);

    // ------------------------------------------------------------------ nodes

    /// @notice Step 2: declares participation. The last of the n declarations starts the first iteration.
    /// @param parent   pi(i); the node itself where it is a root
    /// @param children delta(i), bit k for node k; at most 31 where the node is not a root (a lane's width)
    /// @param depth    distance to the root: with it, agreeing parents and children cannot form a cycle
    /// @param bids     number of bid scalars in each of the node's submissions
    /// @param book     what they refer to; passed on, not read
    function declare(
        uint32 round, uint8 parent, uint128 children, uint8 depth, uint16 bids, bytes calldata book
    ) external;

    /// @notice Steps 3 and 5 in one: the node's copies, bids, and its partial residuals of the iteration before.
    ///         The submission that completes the iteration closes it (the z-update and step 6).
    ///         After its deadline an iteration still takes submissions until somebody closes it: late copies are better
    ///         than none, and so a round does not hang on a call of closeOverdue.
    /// @param copies    the blocks of this node, in the order given above, ceil(steps / 12) words each
    /// @param bids      2 bytes a declared bid scalar
    /// @param residuals four 64-bit lanes: r_grid, s_grid, r_trade, s_trade; ignored in the first iteration
    function submit(
        uint32 round, uint16 iteration, uint256[] calldata copies, bytes calldata bids, uint256 residuals
    ) external;

    // ------------------------------------------------------------------ anyone

    /// @notice Ends a phase whose deadline has passed. Declaring: the round is abandoned. Iterating: the iteration is
    ///         closed with the nodes that are present; the copies of the others are missing from the counts and
    ///         their bids stay at the last ones. It is not judged, as their residuals are missing too.
    function closeOverdue() external;

    // ------------------------------------------------------------------ views

    function theta() external view returns (Theta memory);
    function setting() external view returns (Setting memory);
    function progress() external view returns (Progress memory);
    function outcome(uint32 round) external view returns (Outcome memory);
    function declaration(uint8 node) external view returns (Declaration memory);
    function nodeOf(address account) external view returns (uint8); // reverts with NotEnrolled
    function accountOf(uint8 node) external view returns (address); // zero where nobody is enrolled
    function enrolled() external view returns (uint128 bitmap);
    /// @notice The node as which the account declared in that round, whoever is enrolled now: the manager cannot give
    ///         a past round's trades to somebody else. Reverts with NotEnrolled where the account did not declare.
    function nodeIn(uint32 round, address account) external view returns (uint8);
    /// @notice keccak256 of the last bids that the node submitted in the round; zero before the first.
    function bidsHash(uint32 round, uint8 node) external view returns (bytes32);
    /// @notice Number of words in a submission of the node, from its declaration.
    function copiesLength(uint8 node) external view returns (uint256);
    /// @notice Number of coupled scalars (copies) of the network and of bids, over all nodes: what the RMS divides by.
    function scalars() external view returns (uint64 grid, uint64 trade);
    /// @notice Step 4: the sums of the blocks of one node in the last closed iteration, in the order of its copies.
    ///         While the next round is declared, they are still those of the round before.
    /// @return iteration the closed iteration; 0 before the first
    /// @return present   bitmap of the nodes whose copies are in the sums. A block none of whose holders was present
    ///                   has a meaningless sum: the reader keeps its old value
    /// @return sums      biased lanes: subtract the bias once for each holder that was present
    function coupling(uint8 node) external view returns (uint16 iteration, uint128 present, uint256[] memory sums);
    /// @notice The same of the iteration that is open, as far as it has come: a star's centre hears the others before
    ///         it submits itself. A block none of whose holders is present yet has a meaningless sum.
    function running(uint8 node) external view returns (uint16 iteration, uint128 present, uint256[] memory sums);
    /// @notice Step 6: the four sums of squares that the last closed iteration was judged by.
    function residuals() external view returns (uint256);
}
