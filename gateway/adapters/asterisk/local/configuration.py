"""The configuration of an Asterisk on loopback that runs the shipped dialplan between a gateway and two phones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from gateway.adapters.asterisk.local.installation import AsteriskMissing, Installation

MODULES: Final = """
res_sorcery_config res_sorcery_memory res_sorcery_astdb res_timing_timerfd res_pjproject res_rtp_asterisk
res_pjsip res_pjsip_session res_pjsip_pubsub res_pjsip_sdp_rtp res_pjsip_caller_id res_pjsip_header_funcs
res_pjsip_rfc3326 res_pjsip_dtmf_info res_pjsip_dlg_options
res_pjsip_endpoint_identifier_user res_pjsip_endpoint_identifier_anonymous
chan_pjsip bridge_simple bridge_native_rtp bridge_builtin_features
codec_ulaw codec_alaw codec_a_mu codec_gsm format_wav format_pcm format_gsm
app_dial app_stack app_softhangup app_bridgeaddchan app_mixmonitor app_verbose app_userevent app_playback app_exec
func_channel func_callerid func_strings func_logic func_devstate pbx_config
"""
FRAGMENTS: Final = (
    "manager_consent.conf",
    "pjsip_consent.conf",
    "features_consent.conf",
    "extensions_consent.conf",
    "extensions_consent_example.conf",
    "hints_consent.conf",
)


class Place(Protocol):
    """What is configured: a folder, the ports to listen on, and the secret of each AMI user."""

    @property
    def folder(self) -> Path: ...
    @property
    def sip_port(self) -> int: ...
    @property
    def ami_port(self) -> int: ...
    @property
    def secrets(self) -> dict[str, str]: ...


@dataclass(frozen=True, slots=True)
class Peers:
    """Where the others are, each `host:port`: the gateway, the agent's phone, whoever is called outside."""

    gateway: str
    agent: str
    trunk: str


def configure(place: Place, installation: Installation, fragments: Path, peers: Peers, *, modules: str = "") -> None:
    """Write all that an Asterisk needs into the empty folder of *place*: its program, its configuration, its sounds.

    *fragments*: `dialplan/asterisk` of the checkout. *modules*: more than the dialplan needs, with spaces between them.
    A call from user `agent` takes the example's outbound route, any other call the inbound one. Raises
    `AsteriskMissing` when the fragments are not there.
    """
    for name in FRAGMENTS:
        if not (fragments / name).is_file():
            raise AsteriskMissing(
                f"the dialplan is not here: no {fragments / name}. It comes with the checkout, not with the installed "
                'package: run `make demo ARGS="--path asterisk"` in a checkout'
            )
    for name in ("etc", "log", "spool", "run", "lib"):
        (place.folder / name).mkdir()
    program = place.folder / "asterisk"
    program.write_text(installation.script)
    program.chmod(0o700)
    _data(place.folder / "data", installation)
    for name, text in {
        "asterisk": _directories(place.folder, installation.modules),
        "modules": "[modules]\nautoload = no\n"
        + "".join(f"load = {module}.so\n" for module in f"{MODULES} {modules}".split()),
        "logger": "[logfiles]\nmessages = notice,warning,error\n",
        "http": "[general]\nenabled = no\n",
        "cdr": "[general]\nenable = no\n",
        "cel": "[general]\nenable = no\n",
        "indications": "[general]\ncountry = us\n[us]\ndescription = any\nringcadence = 2000,4000\nring = 440\n",
        "acl": "[loopback]\npermit = 127.0.0.1/255.255.255.255\n",
        **dict.fromkeys(("ccss", "udptl", "pjproject"), "[general]"),
        "rtp": "[general]\nrtpstart = 20000\nrtpend = 29999\n",
        "manager": _manager(place, fragments),
        "pjsip": _pjsip(place, fragments, peers),
        "extensions": f"""
            #include "{fragments}/extensions_consent.conf"
            #include "{fragments}/extensions_consent_example.conf"
            #include "{fragments}/hints_consent.conf"
            """,
        "features": f'#include "{fragments}/features_consent.conf"\n',
    }.items():
        lines = (line.strip() for line in text.strip().splitlines())
        (place.folder / "etc" / f"{name}.conf").write_text("\n".join(lines) + "\n")


def _data(folder: Path, installation: Installation) -> None:
    """Asterisk's shared data, with sounds where it looks for them: an installation's own links may lead nowhere."""
    (folder / "sounds" / "en").mkdir(parents=True)
    for path in installation.data.iterdir():
        if path.name != "sounds":
            (folder / path.name).symlink_to(path)
    for path in installation.sounds.iterdir() if installation.sounds else ():
        (folder / "sounds" / "en" / path.name).symlink_to(path.resolve())


def _directories(folder: Path, modules: Path) -> str:
    return f"""
        [directories]
        astetcdir = {folder}/etc
        astmoddir = {modules}
        astvarlibdir = {folder}/lib
        astdbdir = {folder}/lib
        astkeydir = {folder}/lib
        astdatadir = {folder}/data
        astspooldir = {folder}/spool
        astrundir = {folder}/run
        astlogdir = {folder}/log
        [options]
        live_dangerously = no
        nocolor = yes
        """


def _manager(place: Place, fragments: Path) -> str:
    return f"""
        [general]
        enabled = yes
        bindaddr = 127.0.0.1
        port = {place.ami_port}
        #include "{fragments}/manager_consent.conf"
        [consent-gateway](consent-gateway-user)
        secret = {place.secrets["consent-gateway"]}
        """


def _pjsip(place: Place, fragments: Path, peers: Peers) -> str:
    return f"""
        [transport]
        type = transport
        protocol = udp
        bind = 127.0.0.1:{place.sip_port}
        #include "{fragments}/pjsip_consent.conf"
        [consent-gateway](consent-gateway-aor)
        contact = sip:consent@{peers.gateway}
        [consent-gateway](+type=endpoint)
        transport = transport
        [phone](!)
        type = endpoint
        transport = transport
        disallow = all
        allow = ulaw
        direct_media = no
        [anonymous](phone)
        context = consent-example-inbound
        [agent](phone)
        context = consent-example-outbound
        aors = agent
        [agent]
        type = aor
        contact = sip:agent@{peers.agent}
        [trunk](phone)
        aors = trunk
        [trunk]
        type = aor
        contact = sip:trunk@{peers.trunk}
        """
