// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";

import {IDeposits} from "contracts/interfaces/IDeposits.sol";
import {IOrderBook} from "contracts/interfaces/IOrderBook.sol";
import {OrderBook} from "contracts/market/OrderBook.sol";
import {Log, VM} from "./Cheats.sol";
import {Parties, PartiesTest} from "./Parties.sol";

/// @title What anybody may do with an order book
/// @notice Two steps, eight prices, one of them zero and one below. Beside the book stands a list of all orders that were
///         placed, the oldest first, which is kept by what the book announces and read from one end to the other.
contract BookHandler is Parties {
    struct Known {
        uint256 id;
        address owner;
        uint32 step;
        bool sells;
        int256 price;
        uint256 placed; // Wh
        uint256 traded;
        bool open;
    }

    uint32 public constant STEPS = 2;
    uint32 public constant LEAST = 10;
    int32 private constant LOWEST = -1_000_000;
    uint32 private constant TICK = 1_000_000;
    uint8 private constant TOP = 7;
    uint256 private constant MOST_KNOWN = 48; // orders, so that the list can be read

    OrderBook public immutable book;
    Known[] private _known;

    constructor() Parties(4, 1e6) {
        book = new OrderBook(
            IOrderBook.Setting(
                uint40(block.timestamp + 3600), 3600, LOWEST, TICK, TOP, LEAST, uint16(STEPS), PARTIES, 300
            ),
            IERC20Metadata(address(token))
        );
        (uint8[] memory nodes, address[] memory accounts) = _nodes(PARTIES);
        book.enrol(nodes, accounts);
        uint32 round = book.openRound(1);
        _endow(book);
        for (uint256 i = 0; i < PARTIES; ++i) {
            VM.prank(party(i));
            book.join(round);
        }
    }

    function holder() public view override returns (IDeposits) {
        return book;
    }

    function known() external view returns (Known[] memory) {
        return _known;
    }

    // ------------------------------------------------------------------ calls

    function place(uint256 who, uint32 step, bool sells, uint8 level, uint32 energy, uint8 fills, bool rests) external {
        _forget();
        step %= STEPS;
        int32 price = LOWEST + int32(uint32(level % (TOP + 1))) * int32(TICK);
        energy = energy % 300;
        VM.recordLogs();
        VM.prank(party(who));
        (uint256 id, uint32 left) = book.place(step, sells, price, energy, fills % 5, rests);
        uint256 filled = _hear(party(who), step, sells, price, fills % 5);
        _require(filled + left == energy, "OB2: what was filled and what is left are not what was placed");
        _require(block.timestamp < book.gateOf(step), "OB5: a trade after the gate");
        if (id != 0) _known.push(Known(id, party(who), step, sells, price, left, 0, true));
    }

    /// @notice At times by somebody else than the owner.
    function cancel(uint256 which, uint256 who) external {
        if (_known.length == 0) return;
        Known storage one = _known[which % _known.length];
        address by = who % 3 == 0 ? party(who) : one.owner;
        VM.prank(by);
        book.cancel(one.id);
        _require(one.open, "OB2: an order that was out is taken out again");
        _require(by == one.owner || block.timestamp >= book.gateOf(one.step), "OB8: taken out by another before the gate");
        one.open = false;
    }

    function wait_(uint256 time) external {
        VM.warp(block.timestamp + time % 150);
    }

    // ------------------------------------------------------------------ what is remembered

    /// @dev Takes in what the call of a taker announces. Returns the Wh that it was filled.
    function _hear(address taker, uint32 step, bool sells, int256 limit, uint256 most) private returns (uint256 filled) {
        Log[] memory logs = VM.getRecordedLogs();
        uint256 trades = 0;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != IOrderBook.Traded.selector) continue;
            (uint32 energy, int256 payment) = abi.decode(logs[i].data, (uint32, int256));
            Known storage one = _first(step, !sells);
            _require(uint256(logs[i].topics[1]) == one.id, "OB3: not the oldest of the best price");
            _require(sells ? one.price >= limit : one.price <= limit, "OB1: outside the taker's limit");
            _require(payment == int256(uint256(energy)) * one.price / 1e3, "OB1: not at the price of who rests");
            _require(one.owner != taker, "OB9: with itself");
            one.traded += energy;
            _require(one.traded <= one.placed, "OB2: filled twice");
            if (one.traded == one.placed) one.open = false;
            filled += energy;
            ++trades;
        }
        _require(trades <= most, "OB7: more orders than it may meet");
    }

    /// @dev The oldest order at the best price of a side.
    function _first(uint32 step, bool sells) private view returns (Known storage best) {
        best = _known[0]; // there is one, or the book has announced a trade with an order that nobody placed
        bool found = false;
        for (uint256 i = 0; i < _known.length; ++i) {
            Known storage one = _known[i];
            if (!one.open || one.step != step || one.sells != sells) continue;
            if (found && (sells ? one.price >= best.price : one.price <= best.price)) continue;
            (best, found) = (one, true);
        }
    }

    /// @dev Drops what is out, where the list is long; then the oldest, which their owners take back.
    function _forget() private {
        while (_known.length >= MOST_KNOWN) {
            Known memory last = _known[0];
            if (last.open) {
                VM.prank(last.owner);
                book.cancel(last.id);
            }
            for (uint256 i = 1; i < _known.length; ++i) _known[i - 1] = _known[i];
            _known.pop();
        }
    }
}

/// @notice The numbers are those of IOrderBook.
contract BookTest is PartiesTest {
    BookHandler private _handler;
    OrderBook private _book;

    function setUp() public {
        _play(_handler = new BookHandler());
        _book = _handler.book();
    }

    function invariant_OB1_OB3_OB9_tradesAreWithinLimitsAndInOrder() public view {
        _nothingIsWrong();
    }

    function invariant_OB2_anOrderIsWhatIsLeftOfIt() public view {
        BookHandler.Known[] memory known = _handler.known();
        for (uint256 i = 0; i < known.length; ++i) {
            IOrderBook.Order memory order = _book.order(known[i].id);
            require((order.owner == known[i].owner) == known[i].open, "owner");
            require(order.energy == (known[i].open ? known[i].placed - known[i].traded : 0), "energy");
        }
    }

    function invariant_OB4_whatMeetsDoesNotRest() public view {
        for (uint32 step = 0; step < _handler.STEPS(); ++step) {
            (uint256 bid, uint256 ask) = (_book.best(step, false), _book.best(step, true));
            require(bid == 0 || ask == 0 || _book.order(bid).price < _book.order(ask).price);
        }
    }

    function invariant_OB5_positionsAddUpToZero() public view {
        for (uint32 step = 0; step < _handler.STEPS(); ++step) {
            int256 sum = 0;
            for (uint256 who = 0; who < _handler.PARTIES(); ++who) sum += _book.position(step, _handler.party(who));
            require(sum == 0);
        }
    }

    function invariant_OB6_moneyIsConserved() public view {
        BookHandler.Known[] memory known = _handler.known();
        for (uint256 who = 0; who < _handler.PARTIES(); ++who) {
            address account = _handler.party(who);
            int256 worth = 0;
            for (uint256 i = 0; i < known.length; ++i) {
                BookHandler.Known memory one = known[i];
                if (!one.open || one.owner != account || (one.price < 0) != one.sells) continue;
                worth += int256(one.placed - one.traded) * (one.sells ? -one.price : one.price) / 1e3;
            }
            require(_book.locked(account) == uint256(worth), "locked");
        }
        _depositsAreTheBalance();
    }

    function invariant_OB10_whatIsSmallIsTheFirstOfItsPrice() public view {
        BookHandler.Known[] memory known = _handler.known();
        for (uint256 i = 0; i < known.length; ++i) {
            if (!known[i].open || known[i].placed - known[i].traded >= _handler.LEAST()) continue;
            require(_book.order(known[i].id).previous == 0);
        }
    }
}
