"""A view with everything that reports show: every tone, long values, errors, held changes, a long scope."""

from __future__ import annotations

from mspctl.report.view import Block, Line, Tone, View

DKIM = '"v=DKIM1; k=rsa; p=' + "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA" * 8 + 'IDAQAB"'
BRENTA = "customers/officine-brenta/dns/brenta.example.yaml"
SALA = "customers/studio-dentistico-sala/dns/sala-dentista.example.yaml"


def _brenta() -> list[Block]:
    zone = Block(
        "officine-brenta",
        "dns brenta.example on pdns-1",
        BRENTA,
        [
            Line(Tone.TAKE, "delete", "old-vpn A", "192.0.2.99, ttl 3600", ""),
            Line(Tone.TAKE, "delete", "selector1._domainkey TXT", DKIM, ""),
            Line(Tone.CHANGE, "change", "www A", "192.0.2.80 → 192.0.2.81; ttl 3600 → 300", f"{BRENTA}:3"),
            Line(
                Tone.CHANGE,
                "change",
                "selector2._domainkey TXT",
                f"{DKIM} → {DKIM.replace('MII', 'XYZ')}",
                f"{BRENTA}:17",
            ),
            Line(
                Tone.CHANGE,
                "change",
                "@ TXT",
                '- "some-verification=abc", + "some-verification=def", + "v=spf1 mx -all"',
                f"{BRENTA}:9",
            ),
            Line(Tone.ADD, "create", "voip A", "192.0.2.85, ttl 3600", f"{BRENTA}:12"),
            Line(
                Tone.ADD,
                "create",
                "@ CAA",
                '0 issue "letsencrypt.org", ttl 3600',
                "inventory/baselines/standard.yaml:8",
            ),
            Line(
                Tone.QUIET,
                "needs approval",
                "@ MX",
                "10 mail.brenta.example., ttl 3600 (the last MX of the zone; name it in approvals.yaml)",
            ),
            Line(Tone.QUIET, "held", "intranet A", "10.20.1.5, ttl 3600 [mode is propose]", f"{BRENTA}:21"),
            Line(Tone.QUIET, "later", "mail2._domainkey TXT", "waits for something that is made first"),
        ],
        [
            Line(
                Tone.OUTSIDE,
                "changed outside",
                "mail A",
                "values: Git says 192.0.2.81, live is 203.0.113.7",
                f"{BRENTA}:11",
            ),
            Line(Tone.OUTSIDE, "came back", "ftp A", "192.0.2.9, ttl 3600 is live again, though it was deleted"),
            Line(
                Tone.QUIET,
                "unmanaged",
                "",
                "_acme A, dev A, dev2 A, lab A, old A and 12 more: live, not in Git; left alone",
            ),
        ],
        [
            "mspctl apply --revert -c officine-brenta dns/brenta.example",
            "mspctl adopt officine-brenta dns/brenta.example",
        ],
    )
    reverse = Block(
        "officine-brenta",
        "dns 0.20.10.in-addr.arpa on ns-lab",
        "customers/officine-brenta/dns/0.20.10.in-addr.arpa.yaml",
        [Line(Tone.BAD, "unreachable", "", "ns-lab gave no answer within 30 seconds (10.20.1.53:53)")],
    )
    return [zone, reverse]


def _sala() -> Block:
    lines = [
        Line(Tone.ADD, "new", "sala-dentista.example", "is not there yet; it will be made"),
        *(
            Line(Tone.ADD, "create", f"host-{n:02} A", f"198.51.100.{n}, ttl 3600", f"{SALA}:{n + 3}")
            for n in range(1, 61)
        ),
    ]
    return Block("studio-dentistico-sala", "dns sala-dentista.example on ns-1", SALA, lines)


def _ferri() -> list[Block]:
    heading = "dns ferri-legali.example on ns-1"
    aside = [
        Line(Tone.OUTSIDE, "conflict", "@ A", "values: Git says 203.0.113.40, live is 203.0.113.41"),
        Line(Tone.OUTSIDE, "take-over", "pec CNAME", "values: Git says pec.provider.example., live is old.example."),
    ]
    commands = ["mspctl adopt studio-legale-ferri dns/ferri-legali.example"]
    return [
        Block("studio-legale-ferri", heading, "customers/studio-legale-ferri/dns.yaml", (), aside, commands),
        Block(
            "studio-legale-ferri",
            "dns avvocati-ferri.example on ns-1",
            "customers/studio-legale-ferri/dns/avvocati-ferri.example.zone",
            [
                Line(
                    Tone.BAD,
                    "error",
                    "",
                    "customers/studio-legale-ferri/dns/avvocati-ferri.example.zone:9: @ ALIAS: a zone file cannot hold "
                    "ALIAS records (write A and AAAA, or use a provider that has ALIAS)",
                )
            ],
        ),
    ]


def plan() -> View:
    return View(
        "plan",
        "PLAN",
        ["3 customers", "5 scopes on 3 targets", "read 14:02 UTC"],
        [*_brenta(), _sala(), *_ferri()],
        "62 to create, 3 to change, 2 to delete. 2 changes held. 4 differences from outside left alone. "
        "Not read: 1 scope unreachable, 1 scope with errors.",
        [
            Line(Tone.OUTSIDE, "retired", "dns gone.example on ns-1", "is recorded and no longer declared; left alone"),
            Line(Tone.QUIET, "warnings", "", "7 warnings in the files (mspctl validate shows them)"),
        ],
        {"read_at": "2027-03-12T14:02:00+00:00", "digest": "3fa94c1d00aa71be"},
    )


ALARMS = [
    f"Emergency apply by Paolo Zen on 2027-03-{n} 14:02 UTC: it burns; 3 changes; not yet in Git's main: emergency/r{n}"
    for n in range(21, 28)
]


def _findings() -> list[Block]:
    brenta = [
        Line(
            Tone.SEVERE,
            "severe",
            "dns/brenta.example",
            "no DS record of the zone above (key 4711) matches a key of the zone (key 18730, 60201): resolvers that "
            "validate refuse the whole zone [dns.ds]",
            "customers/officine-brenta/dns.yaml:3",
            "hand this DS over at the registrar (aruba): 18730 13 2 " + "9628D776CEF7C017" * 4 + ", or take it away",
        ),
        Line(
            Tone.WARN,
            "warning",
            "dns/brenta.example/@ MX",
            "mail server mx2.brenta.example has no address [dns.mx-address]",
            f"{BRENTA}:7",
            "give it an A or AAAA record, or take it out of the MX records",
        ),
        Line(
            Tone.WARN,
            "not checked",
            "dns/officine-brenta.example",
            "could not be checked: name server ns3.msp.example: there is no way from here to 2001:db8::53",
            "customers/officine-brenta/dns.yaml:5",
            "run it again",
        ),
        Line(
            Tone.QUIET, "info", "dns/lab.example", "the zone is signed, and nobody checks [dns.no-ds]", "", "hand over"
        ),
        Line(
            Tone.QUIET, "accepted", "dns/old.example", "as it is until 2027-04-30, by Paolo: it moves (…) [dns.serial]"
        ),
    ]
    sala = [
        Line(
            Tone.WARN,
            "warning",
            "dns/sala-dentista.example, dns/sala.example and 3 more",
            "name server ns2.msp.example does not answer: 192.0.2.54 gave no answer within 3 s [dns.ns-silent]",
            "customers/studio-dentistico-sala/dns.yaml:2",
            "see that it runs and is let through (UDP and TCP), or take it out of the name servers",
        )
    ]
    return [Block("officine-brenta", "findings", "", brenta), Block("studio-dentistico-sala", "findings", "", sala)]


def drift() -> View:
    view = plan()
    summary = (
        "3 findings, 1 severe. 1 check could not be made. 4 resources changed outside; 17 unmanaged; 67 not yet "
        "applied. Not read: 1 scope unreachable."
    )
    blocks = sorted([*_findings(), *view.blocks], key=lambda block: block.customer)
    facts = [*view.facts, "checked from outside"]
    return View("drift", "DRIFT", facts, blocks, summary, view.notes[:1], view.document, ALARMS)


def outcome() -> View:
    zone = Block(
        "officine-brenta",
        "dns brenta.example on pdns-1",
        BRENTA,
        [
            Line(Tone.BAD, "failed", "", "www A was changed on pdns-1 since it was read"),
            Line(Tone.DONE, "deleted", "old-vpn A", "192.0.2.99, ttl 3600"),
            Line(Tone.DONE, "updated", "@ TXT", '- "some-verification=abc", + "some-verification=def"', f"{BRENTA}:9"),
            Line(Tone.BAD, "not updated", "www A", "192.0.2.80 → 192.0.2.81", f"{BRENTA}:3"),
        ],
    )
    held = Block(
        "officine-brenta",
        "dns officine-brenta.example on pdns-1",
        "",
        [
            Line(Tone.QUIET, "held", "", "comes after dns brenta.example on pdns-1, which did not finish"),
            Line(Tone.BAD, "not created", "www CNAME", "brenta.example., ttl 86400"),
        ],
    )
    sala = Block(
        "studio-dentistico-sala",
        "dns sala-dentista.example on ns-1",
        SALA,
        [
            Line(Tone.DONE, "created", f"host-{n:02} A", f"198.51.100.{n}, ttl 3600", f"{SALA}:{n}")
            for n in range(1, 61)
        ],
    )
    return View(
        "apply",
        "APPLY",
        ["3 scopes looked at", "1 of 3 with changes finished"],
        [zone, held, sala],
        "62 changes landed. 2 changes did not. To finish, run again: mspctl apply -c officine-brenta",
        [Line(Tone.BAD, "ledger", "", "the outcome is kept locally, `mspctl ledger push` sends it: no answer")],
    )


def nothing() -> View:
    facts = ["officine-brenta", "3 scopes on 2 targets", "read 14:02 UTC"]
    return View("plan", "PLAN", facts, [], "Nothing to do: every declaration is true.")


HOSTILE = (
    "<script>alert(1)</script>",
    "</details></summary></table>",
    "```\n## owned",
    "`` ` ``` ```` `````",
    "@everyone @octocat",
    "https://evil.example/?q=1 www.evil.example a@evil.example",
    "#1 GH-1 owner/repo#2 da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "[x](javascript:alert(1)) ![i](http://evil.example/i.png) <img src=x onerror=alert(1)>",
    "\n\n# heading\n- item\n---\n",
    "\x00\x1b[31mred\x07\r\n\u202egnp.exe\u2066\u200b\u2028",
    '"><svg onload=alert(1)> \' " & &lt; {{ 7*7 }} {% raw %}',
    "<!-- comment --> $x$ :tada: | a | b |",
)


def hostile() -> View:
    """The worst that could stand at every place of a view."""
    tones = [*Tone]
    lines = [
        Line(
            tones[n % len(tones)],
            f"label {text}",
            f"name {text}",
            f"detail {text} → {text}",
            f"source {text}:{n}",
            f"remedy {text}",
        )
        for n, text in enumerate(HOSTILE)
    ]
    blocks = [
        Block(f"customer {text}", f"heading {text}", f"file {text}", lines, lines[:3], [f"mspctl adopt {text}"])
        for text in HOSTILE
    ]
    summary = f"1 to create. {' '.join(HOSTILE)}"
    return View("plan", "PLAN", HOSTILE, blocks, summary, lines, {"digest": HOSTILE[0], "read_at": HOSTILE[1]}, HOSTILE)


def huge(scopes: int = 40, lines: int = 500, length: int = 60) -> View:
    """More than any comment can hold; every line has a name of its own."""
    blocks = []
    for n in range(scopes):
        source = f"customers/c-{n // 4:04}/dns/z{n}.example.yaml"
        made = [Line(*_thirds(i, lines), f"h{i}-z{n}. TXT", f'"{"x" * length}"', f"{source}:{i}") for i in range(lines)]
        errors = [Line(Tone.BAD, "error", f"e-z{n}.", "refused")] if n % 10 == 0 else []
        outside = [Line(Tone.OUTSIDE, "changed outside", f"o-z{n}. A", "deleted")] if n % 3 == 0 else []
        blocks.append(Block(f"c-{n // 4:04}", f"dns z{n}.example on ns-1", source, [*errors, *made], outside))
    return View("plan", "PLAN", ["many customers"], blocks, f"{scopes * lines:,} changes.")


def _thirds(i: int, of: int) -> tuple[Tone, str]:
    return ((Tone.TAKE, "delete"), (Tone.CHANGE, "change"), (Tone.ADD, "create"))[i * 3 // of]
