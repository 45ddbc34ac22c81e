"""The one page of the simulator: nodes, accounts, machines and jobs as they are now, and a form to submit a job."""

from html import escape
from typing import Final

from bursar.plugins.simulator import wire
from bursar.plugins.simulator.backend.world import CORES_PER_NODE, World

_STYLE: Final = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --busy: #206bc4; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; margin: .5rem 0; } h2 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
.notice, .said { border: 1px solid #b58900; border-left-width: 6px; padding: .5rem .75rem; border-radius: 4px; }
.said { border-color: var(--busy); margin-top: .75rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.n, th.n { text-align: right; } td:last-child { white-space: normal; min-width: 9rem; }
form { display: flex; flex-wrap: wrap; gap: .75rem; align-items: end; }
label { display: flex; flex-direction: column; font-size: .85rem; }
input, select, button { font: inherit; padding: .35rem .5rem; min-height: 2.3rem; box-sizing: border-box; }
input[type=number] { width: 7rem; }
.nodes { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: .5rem; }
.node { border: 1px solid var(--line); border-radius: 4px; padding: .4rem .6rem; }
meter { width: 100%; } .quiet { opacity: .75; }
"""

_SCRIPT: Final = """
const live = document.getElementById("live");
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch("/live");
    if (answer.ok) live.innerHTML = await answer.text();
  } catch { /* the simulator is down for a moment; the next try finds it again */ }
}, 2000);
"""


def whole(world: World, *, form_token: str, nonce: str, said: str = "") -> str:
    """The page. form_token   proves that a submitted form came from it; said   what became of the last form."""
    notice = f'<p class="said" role="status">{escape(said)}</p>' if said else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Simulated cluster and cloud · for trials and training</title>
<style nonce="{nonce}">{_STYLE}</style>
</head>
<body>
<h1>Simulated cluster and cloud</h1>
<p class="notice">This is Bursar’s <strong>simulator, for trials and training</strong>. Nothing here is computed and
no machine exists; only time, quota and usage are real.</p>
{notice}
<h2 id="submit">Submit a job</h2>
{_form(world, form_token)}
<div id="live">{live(world)}</div>
<script nonce="{nonce}">{_SCRIPT}</script>
</body>
</html>
"""


def _form(world: World, form_token: str) -> str:
    choices = [
        f'<option value="{account.name}/{username}">{escape(account.title)} ({account.name}), as {username}</option>'
        for account in world.accounts()
        if account.kind == "hpc" and not account.closed
        for username in account.members
    ]
    if not choices:
        return '<p class="quiet">No account has members yet: order a cluster allocation in Bursar first.</p>'
    return f"""<form method="post" action="/submit" aria-labelledby="submit">
<input type="hidden" name="token" value="{form_token}">
<label>Account <select name="who" required>{"".join(choices)}</select></label>
<label>Name <input name="name" value="trial" maxlength="{wire.TEXT_LENGTH_MAX}" required></label>
<label>Cores <input type="number" name="cores" value="4" min="1" required></label>
<label>Seconds <input type="number" name="seconds" value="60" min="1" required></label>
<button>Submit</button>
</form>"""


def live(world: World) -> str:
    """The part of the page that is fetched again and again."""
    info = world.info()
    load = f"{info.jobs_running} jobs run, {info.jobs_pending} wait. One real second is {info.speed:g} s here."
    parts = [
        f'<h2>Nodes</h2><p class="quiet">{load}</p>',
        f'<div class="nodes">{"".join(_node(i, busy) for i, busy in enumerate(world.busy_cores()))}</div>',
    ]
    accounts = world.accounts()
    parts.append(
        _table(
            "Accounts",
            ("Account", "Title", "State", "Used, core-hours", "Limit, core-hours", "Storage, GB", "Members"),
            [
                (
                    account.name,
                    account.title,
                    _account_state(account),
                    _hours(account.counted_core_seconds),
                    "none" if account.limit_core_seconds is None else _hours(account.limit_core_seconds),
                    str(account.storage_gb),
                    ", ".join(account.members),
                )
                for account in accounts
                if account.kind != "group"
            ],
            numbers=(3, 4, 5),
        )
    )
    parts.append(
        _table(
            "Virtual machines",
            ("Machine", "Name", "Flavor", "State", "Address", "Account"),
            [
                (f"vm-{m.id}", m.name, f"{m.flavor} ({m.cores} cores)", m.state, m.address, account.name)
                for account in accounts
                if (m := account.machine) is not None
            ],
        )
    )
    parts.append(
        _table(
            "Jobs",
            ("Job", "Name", "Account", "User", "Cores", "Ran, s", "Asked, s", "State", "Nodes, or why it waits"),
            [
                (
                    str(job.id),
                    job.name,
                    job.account,
                    job.username,
                    str(job.cores),
                    str(job.elapsed_seconds),
                    str(job.seconds),
                    job.state,
                    job.reason or (job.nodes if job.state == "running" else ""),
                )
                for job in world.jobs()
            ],
            numbers=(4, 5, 6),
        )
    )
    return "\n".join(parts)


def _node(index: int, busy: int) -> str:
    text = f"{busy} of {CORES_PER_NODE}"
    return (
        f'<div class="node">node{index + 1}, cores<br><meter min="0" max="{CORES_PER_NODE}" value="{busy}" '
        f'aria-label="node{index + 1}: {text} cores in use"></meter><br>{text}</div>'
    )


def _account_state(account: wire.AccountShown) -> str:
    if account.closed:
        return "closed"
    words = [word for word, holds in (("paused", account.paused), ("locked", account.locked)) if holds]
    return ", ".join(words) or "open"


def _hours(core_seconds: int) -> str:
    return f"{core_seconds / 3600:,.2f}"


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]], numbers: tuple[int, ...] = ()) -> str:
    if not rows:
        return f'<h2>{title}</h2><p class="quiet">None yet.</p>'

    def kind(column: int) -> str:
        return ' class="n"' if column in numbers else ""

    head = "".join(f'<th scope="col"{kind(i)}>{text}</th>' for i, text in enumerate(heads))
    body = "".join(
        f"<tr>{''.join(f'<td{kind(i)}>{escape(cell)}</td>' for i, cell in enumerate(row))}</tr>" for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<h2>{title}</h2><div class="scroll" tabindex="0" role="region" aria-label="{title}">{table}</div>'
