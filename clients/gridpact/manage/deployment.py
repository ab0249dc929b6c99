"""What the contracts of a community are deployed with: from a file of parameters, or derived from the community."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from gridpact.chain.contract import checked_address
from gridpact.chain.deploy import OnDeployed, Sender, deploy_contracts
from gridpact.chain.inspection import check_token, inspect_deployment
from gridpact.chain.profiles import ChainProfile
from gridpact.chain.record import Record
from gridpact.chain.unfinished import Unfinished
from gridpact.chain.values import Setting, Theta
from gridpact.community.model import CommunityDay
from gridpact.community.read import Community
from gridpact.errors import InputError
from gridpact.files import parse_json, reason_of
from gridpact.manage.terms import terms_of
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.parameters import Resolution, Tolerances
from gridpact.market.prepared import Prepared
from gridpact.problem.coefficients import own_partners
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView

MAX_MISSES = 3

STANDARD = "standard"
"""Stands for the network's own test stablecoin."""


@dataclass(frozen=True)
class Parameters:
    """The constants of a deployment. Roles that are None are the manager's, or a test token.

    Attributes:
        sealed: whether what is submitted is read by those only whom it concerns, see `node.form`.
    """

    theta: Theta
    setting: Setting
    token: str | None = None  # address, or STANDARD
    supplier: str | None = None
    metering: str | None = None
    sealed: bool = True

    def __post_init__(self) -> None:
        for name in ("token", "supplier", "metering"):
            value = getattr(self, name)
            if value is None or (name == "token" and value == STANDARD):
                continue
            try:
                object.__setattr__(self, name, checked_address(value))
            except InputError as error:
                raise InputError(f"The {name} of the deployment: {error}") from error

    def with_roles(self, token: str | None, supplier: str | None, metering: str | None) -> Parameters:
        """The same with other roles, where they are given."""
        return replace(
            self,
            token=token or self.token,
            supplier=supplier or self.supplier,
            metering=metering or self.metering,
        )

    @classmethod
    def read(cls, path: Path) -> Parameters:
        """Reads `deploy/parameters/<name>.json`.

        Raises:
            InputError: it says what is wrong with it.
        """
        try:
            values = parse_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(
                f"There are no parameters at {path}: write them (deploy/parameters/README.md), or derive them from a"
                " community file with --community."
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The parameters {path} cannot be read ({reason_of(error)}): check the path.") from error
        except ValueError as error:
            raise InputError(f"The parameters {path} are not valid JSON ({error}): correct the file.") from error
        if not isinstance(values, dict):
            raise InputError(f"The parameters {path} are not a JSON object: see deploy/parameters/README.md.")
        known = {field.name for field in fields(cls)}
        for name in sorted(known - values.keys() - {"sealed"}):
            raise InputError(f"{path} lacks '{name}': see deploy/parameters/README.md.")
        for name in sorted(values.keys() - known):
            raise InputError(f"{path} has '{name}', which is no parameter: see deploy/parameters/README.md.")
        theta = Theta(**_numbers(values["theta"], Theta, path, "theta"))
        setting = Setting(**_numbers(values["setting"], Setting, path, "setting"))
        if not isinstance(sealed := values.get("sealed", cls.sealed), bool):
            raise InputError(f"In {path} 'sealed' must be true or false, not {sealed!r}.")
        return cls(theta, setting, values["token"], values["supplier"], values["metering"], sealed)

    @classmethod
    def of_community(
        cls,
        community: Community,
        phase_seconds: int,
        scenario: Scenario = Scenario.TG,
        agreement: NetworkAgreement = NetworkAgreement.DSO,
        max_misses: int = MAX_MISSES,
        resolution: Resolution | None = None,
    ) -> Parameters:
        """Derived by the rules of `admm.parameters`. theta holds for ever: rho and phi are those of the day whose rho
        is the median, and the limits are the lowest of all days of the community.
        """
        for name in community.days:
            resolution = (resolution or Resolution()).carrying(community.on(name))
        days = []
        for name in community.days:
            prepared = Prepared.of(community.on(name), scenario, agreement)
            views = tuple(_as_service(view, prepared.community) for view in prepared.views)
            days.append(Negotiation.of(replace(prepared, views=views), resolution))
        middle = sorted(days, key=lambda day: day.penalties.rho)[len(days) // 2]
        lowest = Tolerances(*map(min, zip(*(day.tolerances.limits_w for day in days), strict=True)))
        return cls(*terms_of(replace(middle, tolerances=lowest), phase_seconds, max_misses))

    def as_json(self) -> dict[str, Any]:
        """As `read` takes it."""
        return asdict(self)


def _as_service(view: NodeView, community: CommunityDay) -> NodeView:
    """The bids of a household's service to the partners that it has in the community. It does not know at which steps
    the others can use a trade, so it has more of them, and the limits are the lower."""
    if view.household is None or not view.partners:
        return view
    nodes = [partner.node for partner in view.partners]
    bids = own_partners(nodes, -view.household.net_load_kw, community.prices, community.trading_coefficient)
    return replace(view, partners=bids)


def carry_out(
    account: Sender,
    parameters: Parameters,
    profile: ChainProfile,
    on_deployed: OnDeployed | None = None,
    out: Path | None = None,
    days: bool = False,
) -> Record:
    """Deploys the contracts, checks what then stands on the chain, and returns the record.

    Args:
        out: where the record is written. Until it is, the deployment is noted beside it, and gone on with when it is
            carried out again with the same account and parameters.
        days: whether a settlement of days is deployed besides.

    Raises:
        InputError: a role or the token is missing, or another deployment was begun for this record.
        ChainError: the chain failed, or has something else than was compiled.
    """
    supplier, metering = roles_of(parameters, profile, account.address)
    token = token_of(parameters, profile)
    if token is not None:
        check_token(account.web3, token)
    unfinished = None if out is None else unfinished_at(out, account, parameters, profile)
    theta, setting = parameters.theta, parameters.setting
    record = deploy_contracts(
        *(account, theta, setting, profile.name, supplier, metering, token, on_deployed, unfinished, days),
        sealed=parameters.sealed,
    )
    inspect_deployment(account.web3, record)
    if out is not None and unfinished is not None:
        record.write(out)
        unfinished.forget()
    return record


def unfinished_at(out: Path, account: Sender, parameters: Parameters, profile: ChainProfile) -> Unfinished:
    """What was sent of the deployment whose record is going to be written, before it was interrupted.

    Raises:
        InputError: another deployment was begun for this record.
    """
    return Unfinished.of(out, account.web3, account.address, parameters.as_json(), lasting=not profile.local)


def roles_of(parameters: Parameters, profile: ChainProfile, manager: str) -> tuple[str, str]:
    """Supplier and metering account; on this machine the manager's account, where none is given."""
    for name in ("supplier", "metering"):
        if getattr(parameters, name) is None and not profile.local:
            raise InputError(
                f"The parameters name no {name} account, which the network {profile.name} needs: give --{name} ADDRESS."
            )
    return parameters.supplier or manager, parameters.metering or manager


def token_of(parameters: Parameters, profile: ChainProfile) -> str | None:
    """The address of the token that pays; None: a test token is deployed."""
    if parameters.token != STANDARD:
        return parameters.token
    if profile.token is None:
        raise InputError(
            f"No euro test stablecoin of the network {profile.name} is known: give the address of a token, or none,"
            " which deploys a test token."
        )
    return profile.token


def _numbers(given: Any, kind: type[Theta] | type[Setting], path: Path, name: str) -> Mapping[str, int]:
    known = [field.name for field in fields(kind)]
    if not isinstance(given, dict):
        raise InputError(f"In {path} '{name}' must be an object: see deploy/parameters/README.md.")
    for wrong in sorted(set(known) ^ given.keys()):
        verb = "lacks" if wrong in known else "has the unknown"
        raise InputError(f"In {path} '{name}' {verb} '{wrong}': see deploy/parameters/README.md.")
    for key, value in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise InputError(f"In {path} '{name}.{key}' must be a whole number of at least 0, not {value!r}.")
    return {key: given[key] for key in known}
