// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Settlement of bilateral trades
/// @notice Households hold deposits in an ERC-20 token. After a round of the virtual aggregator has converged, both
///         sides of a pair state the trades they agreed on; a trade is recorded, and paid from deposits, when the two
///         statements are identical, and never on one side's word.
///
/// @dev A statement about the pair (lower, higher), two node numbers, is a byte string of one 9-byte entry a traded
///      step, steps ascending:
///
///      | bytes | field    | meaning                                                                    |
///      |-------|----------|----------------------------------------------------------------------------|
///      | 0     | step     | uint8, 0 to steps - 1                                                      |
///      | 1-4   | energy   | int32, Wh, positive where the lower node sells                             |
///      | 5-8   | price    | int32, 1e-6 currency/kWh                                                   |
///
///      Payment = sum(energy * price) * 10^decimals / 10^9, truncated towards zero once a pair; positive from the
///      higher to the lower node. |sum| < 192 * 2^62 < 2^70, times 10^18 < 2^130.
///
///      The side that has to pay locks the payment with its statement, so recording never fails for want of money and
///      neither side can make the other's call fail. A lock ends with the record, with a new statement of the
///      same side, or by `release` after its deadline.
///
/// Invariants. Tests bear these numbers.
///   TS1  Free and locked deposits of all households together equal the contract's token balance (tokens that somebody
///        sends past `deposit` stay in the contract and belong to nobody).
///   TS2  A trade is recorded at most once, and only where both sides stated the same.
///   TS3  The payments of a round sum to zero.
///   TS4  What is not locked can be withdrawn at any time.
///   TS5  Every lock ends: by the record, a new statement, or release after the deadline.
///   TS6  Trades are recorded only for rounds that converged.
interface ITradeSettlement {
    /// @notice What one household states about its trades with one partner.
    struct Statement {
        uint8 partner;
        bytes trades;
    }

    event Deposited(address indexed account, uint256 amount);
    event Withdrawn(address indexed account, uint256 amount);
    event Stated(uint32 indexed round, uint8 indexed node, uint8 indexed partner, bytes32 statement, uint256 locked);
    event StatementsDiffer(uint32 indexed round, uint8 indexed lower, uint8 indexed higher);
    /// @param payment token units, positive from the higher to the lower node
    event TradeRecorded(
        uint32 indexed round, uint8 indexed lower, uint8 indexed higher, int256 payment, bytes trades
    );
    event Released(uint32 indexed round, uint8 indexed node, uint8 indexed partner, uint256 amount);

    error TooManyDecimals(uint8 decimals);
    error NotConverged(uint32 round);
    error InvalidPartner(uint8 node, uint8 partner);
    error InvalidTrades(uint8 partner, uint256 position);
    error AlreadyRecorded(uint32 round, uint8 lower, uint8 higher);
    error InsufficientDeposit(address account, uint256 available, uint256 needed);
    error ReceivedOtherAmount(uint256 expected, uint256 received);
    error NothingLocked(uint32 round, uint8 node, uint8 partner);
    error LockedUntil(uint40 deadline);

    /// @notice Moves tokens from the caller into its deposit. The token must deliver exactly that amount.
    function deposit(uint256 amount) external;

    /// @notice Moves free deposit back to the caller.
    function withdraw(uint256 amount) external;

    /// @notice States the caller's trades of a converged round, one statement a partner. A pair whose two statements
    ///         are identical is recorded and paid at once.
    function state(uint32 round, Statement[] calldata statements) external;

    /// @notice Frees what the caller's account locked for a pair that was not recorded by the lock's deadline.
    function release(uint32 round, uint8 partner) external;

    function free(address account) external view returns (uint256);
    function locked(address account) external view returns (uint256);
    /// @notice Free and locked deposits of all accounts.
    function totalDeposits() external view returns (uint256);
    function isRecorded(uint32 round, uint8 one, uint8 other) external view returns (bool);
    /// @notice What the node received (negative: paid) in a round, token units.
    function netPayment(uint32 round, uint8 node) external view returns (int256);
    /// @notice The payment that a statement implies, token units, positive from the higher to the lower node.
    function payment(bytes calldata trades) external view returns (int256);
}
