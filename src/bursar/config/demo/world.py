"""The demo nation as plain data, the same for the same seed. Nothing here touches a database; `load` does."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SEED: Final = 20
DAYS: Final = 365  # of history


@dataclass(frozen=True, slots=True)
class PersonData:
    key: str
    full_name: str
    email: str
    organization: str


@dataclass(frozen=True, slots=True)
class OrganizationData:
    key: str
    name: str
    slug: str
    country: str
    url: str
    vat_number: str = ""
    time_zone: str = "Europe/Copenhagen"


@dataclass(frozen=True, slots=True)
class SellerData:
    """What stands on its invoices; days of grace are as many as its slowest report takes, and some more."""

    provider: str
    legal_name: str
    address: str
    email: str
    bank_account: str
    number_prefix: str
    note: str
    grace_days: int = 10
    due_days: int = 30


@dataclass(frozen=True, slots=True)
class BuyerData:
    organization: str
    legal_name: str
    address: str
    email: str
    reference: str


@dataclass(frozen=True, slots=True)
class CategoryData:
    """A unit of account; `ticks_per_unit` as in the ledger (3600 core-seconds make a core-hour)."""

    key: str
    provider: str
    title: str
    product_type: str
    charging: str
    unit_name: str
    ticks_per_unit: int
    description: str
    requires_allocation: bool = True
    allows_overallocation: bool = True


@dataclass(frozen=True, slots=True)
class ProjectData:
    """`rhythm` names how it uses what it has; see `usage_of_day`."""

    key: str
    organization: str
    name: str
    slug: str
    field_of_science: str
    description: str
    pi: str
    started_days_ago: int
    parent: str = ""
    ended_days_ago: int | None = None
    rhythm: str = "steady"
    members: tuple[str, ...] = ()


# The numbers satisfy their countries' check digits and belong to nobody here. Vestby has none, so it pays Skygarden Finnish tax.
ORGANIZATIONS: Final = (
    OrganizationData("nordhavn", "University of Nordhavn", "nordhavn", "DK", "https://nordhavn.example", "DK31792649"),
    OrganizationData(
        "alder", "Aldermoor Institute of Technology", "alder", "DK", "https://aldermoor.example", "DK26509181"
    ),
    OrganizationData("vestby", "Vestby University", "vestby", "DK", "https://vestby.example"),
    OrganizationData("ncc", "National Computing Centre", "ncc", "DK", "https://ncc.example", "DK19340724"),
    OrganizationData(
        "sky", "Skygarden Research Cloud", "skygarden", "FI", "https://skygarden.example", "FI27143028",
        "Europe/Helsinki",
    ),
)  # fmt: skip
UNIVERSITIES: Final = ("nordhavn", "alder", "vestby")
PROVIDERS: Final = ("ncc", "sky")

CATEGORIES: Final = (
    CategoryData(
        "thor-cpu", "ncc", "Processor time on Thor", "compute", "hour", "core-hours", 3600,
        "Processor cores of the cluster Thor, counted while a job holds them.",
    ),
    CategoryData(
        "thor-gpu", "ncc", "Accelerator time on Thor", "compute", "hour", "GPU-hours", 3600,
        "Accelerators of the cluster Thor, counted while a job holds them.",
    ),
    CategoryData(
        "mimer-storage", "ncc", "Project storage on Mimer", "storage", "once", "GB", 1,
        "Space on the file system Mimer, backed up every night.", allows_overallocation=False,
    ),
    CategoryData(
        "matrixlab", "ncc", "MatrixLab seats", "license", "once", "seats", 1,
        "Seats of the national MatrixLab licence; one person takes one seat.",
    ),
    CategoryData(
        "sky-vm", "sky", "Virtual machines in Skygarden", "compute", "hour", "core-hours", 3600,
        "Cores of virtual machines, counted while a machine exists.",
    ),
    CategoryData(
        "sky-ip", "sky", "Public network addresses", "network_ip", "once", "addresses", 1,
        "IPv4 addresses that the whole world can reach.", allows_overallocation=False,
    ),
    CategoryData(
        "sky-link", "sky", "Public links", "public_link", "once", "links", 1,
        "Web addresses below skygarden.example that point to your machines.", requires_allocation=False,
    ),
)  # fmt: skip

# IBANs of example: their check digits are right, their banks do not exist.
SELLERS: Final = (
    SellerData(
        "ncc", "National Computing Centre", "Thor's Quay 1\n1000 Nordhavn\nDenmark", "invoices@ncc.example",
        "DK50 0040 0440 1162 43", "NCC-", "Questions about an invoice: invoices@ncc.example.",
    ),
    SellerData(
        "sky", "Skygarden Research Cloud Ltd", "Cloud Street 8\n00100 Helsinki\nFinland", "billing@skygarden.example",
        "FI21 1234 5600 0007 85", "SKY-", "", due_days=45,
    ),
)  # fmt: skip
BUYERS: Final = (
    BuyerData(
        "nordhavn", "University of Nordhavn, Research Office", "Harbour Road 4\n1010 Nordhavn\nDenmark",
        "accounts@nordhavn.example", "RO-4711",
    ),
    BuyerData(
        "alder", "Aldermoor Institute of Technology", "Alder Way 20\n8000 Aldermoor\nDenmark",
        "invoices@aldermoor.example", "PO 2201/88",
    ),
    BuyerData(
        "vestby", "Vestby University, Finance", "West Square 2\n5000 Vestby\nDenmark", "finance@vestby.example", "VU-IT-305",
    ),
)  # fmt: skip
# (country, per cent, year, month, day from which it is valid): the standard rates of the sellers' countries
TAX_RATES: Final = (("DK", "25", 1992, 1, 1), ("FI", "24", 2013, 1, 1), ("FI", "25.5", 2024, 9, 1))

CARDS: Final = (
    # key, name, mail, organization: one for each kind of person that Bursar is for
    PersonData("researcher", "Freja Lindqvist", "researcher@demo.bursar.example", "nordhavn"),
    PersonData("pi", "Anders Holm", "pi@demo.bursar.example", "nordhavn"),
    PersonData("approver", "Ingrid Solberg", "approver@demo.bursar.example", "vestby"),
    PersonData("allocator", "Mikkel Bruun", "allocator@demo.bursar.example", "nordhavn"),
    PersonData("provider", "Sunniva Dahl", "provider@demo.bursar.example", "ncc"),
    PersonData("operator", "Torben Kvist", "operator@demo.bursar.example", "ncc"),
)

_GIVEN: Final = (
    "Aino Amara Astrid Bodil Chen Dagny Elif Emeka Erlend Esther Fatima Finn Gudrun Hanna Henrik Ilse Ines Isak Jonas Jana "
    "Kaja Karim Kerstin Lars Leila Linnea Livia Lukas Maja Malik Marta Mateo Maren Mina Nadia Nils Noor Olga Oskar Pavel "
    "Petra Priya Rasmus Rosa Ruben Sanna Selma Sigrid Silje Sofia Stellan Sven Tariq Thea Tobias Tove Ulrik Valdis Vera "
    "Viggo Wanda Xenia Yara Yusuf Zofia Asta Bjarke Casper Ditte Eskil Frida Gunnar Hilde Iben"
).split()
_FAMILY: Final = (
    "Aagaard Ahmed Andersen Bakke Berg Bjerre Brandt Carlsen Claesson Dam Eide Ekman Engel Falk Fjeld Frost Garcia Greve "
    "Haugen Hedlund Hoffmann Ibsen Iversen Jansen Juhl Kaya Kjær Kowalska Krogh Laine Lund Madsen Mikkelsen Moe Munk Nair "
    "Nguyen Nilsen Nordby Novak Nygaard Olsen Ottesen Patel Poulsen Quist Rask Ravn Rossi Rydberg Sandvik Schmidt Skov "
    "Soerensen Stenberg Strand Sund Tamm Thorsen Toft Ueland Vang Vestergaard Vik Wahl Winther Yilmaz Zander Aalto Birk "
    "Dreyer Elvang Fogh Gram"
).split()

PEOPLE_TOTAL: Final = 80

PROJECTS: Final = (
    ProjectData(
        "ice", "nordhavn", "Ice sheet dynamics of the north", "ice-sheet", "Earth sciences",
        "How fast the inland ice flows, and what that does to the sea.", "pi", 360, rhythm="busy",
    ),
    ProjectData(
        "ice-melt", "nordhavn", "Melt ponds from satellite pictures", "melt-ponds", "Earth sciences",
        "Finding melt water in pictures from space.", "p01", 250, parent="ice", rhythm="growing",
    ),
    ProjectData(
        "ice-core", "nordhavn", "Ice core chronology", "ice-core", "Earth sciences",
        "Dating layers of old ice.", "p02", 200, parent="ice", rhythm="quiet",
    ),
    ProjectData(
        "protein", "nordhavn", "Folding of membrane proteins", "membrane-proteins", "Biology",
        "Molecular dynamics of proteins in cell walls.", "p03", 355, rhythm="exhausting",
    ),
    ProjectData(
        "genome", "nordhavn", "Genomes of northern grasses", "grass-genomes", "Biology",
        "Assembling the genomes of forty grasses.", "p04", 340, rhythm="bursty",
    ),
    ProjectData(
        "lexicon", "nordhavn", "A lexicon of drowned dialects", "dialects", "Humanities",
        "Speech recognition for dialects that few people speak.", "p05", 300, rhythm="quiet",
    ),
    ProjectData(
        "reactor", "alder", "Turbulence in fusion reactors", "fusion", "Physics",
        "Gyrokinetic simulation of plasma edges.", "p06", 362, rhythm="busy",
    ),
    ProjectData(
        "reactor-ml", "alder", "Surrogate models for plasma edges", "fusion-ml", "Physics",
        "Neural networks that stand in for expensive simulation.", "p07", 220, parent="reactor", rhythm="growing",
    ),
    ProjectData(
        "bridge", "alder", "Wind on long bridges", "bridges", "Engineering",
        "Large-eddy simulation of wind around bridge decks.", "p08", 330, rhythm="bursty",
    ),
    ProjectData(
        "battery", "alder", "Electrolytes for sodium batteries", "batteries", "Chemistry",
        "Screening electrolytes with density functional theory.", "p09", 350, rhythm="steady",
    ),
    ProjectData(
        "battery-lab", "alder", "Robot laboratory for batteries", "battery-lab", "Chemistry",
        "Closing the loop between simulation and a robot that mixes.", "p10", 150, parent="battery", rhythm="steady",
    ),
    ProjectData(
        "chip", "alder", "Verification of open processors", "chips", "Computer science",
        "Formal proofs about processor cores.", "p11", 280, rhythm="steady",
    ),
    ProjectData(
        "robot", "alder", "Walking robots", "robots", "Computer science",
        "Learning to walk on ice.", "p12", 180, rhythm="growing",
    ),
    ProjectData(
        "epidemic", "vestby", "Epidemics on travel networks", "epidemics", "Medicine",
        "Agent-based models of a whole country.", "p13", 345, rhythm="bursty",
    ),
    ProjectData(
        "brain", "vestby", "Ageing brains", "ageing-brains", "Medicine",
        "Segmenting ten thousand scans.", "p14", 320, rhythm="steady",
    ),
    ProjectData(
        "brain-sleep", "vestby", "Sleep and memory", "sleep", "Medicine",
        "What happens to memories at night.", "p15", 170, parent="brain", rhythm="quiet",
    ),
    ProjectData(
        "fish", "vestby", "Where the cod went", "cod", "Biology",
        "Following fish by sound.", "p16", 310, rhythm="steady",
    ),
    ProjectData(
        "poverty", "vestby", "Income and place", "income", "Social sciences",
        "Linked registers of four million lives, on machines that nobody else may enter.", "p17", 290, rhythm="quiet",
    ),
    ProjectData(
        "archive", "vestby", "Reading the parish books", "parish-books", "Humanities",
        "Handwriting recognition for three centuries of church records.", "p18", 260, rhythm="bursty",
    ),
    ProjectData(
        "climate", "nordhavn", "Regional climate to 2100", "climate", "Earth sciences",
        "Downscaling of global climate projections.", "p19", 358, rhythm="busy",
    ),
    ProjectData(
        "climate-sea", "nordhavn", "Storm surges", "storm-surges", "Earth sciences",
        "How high the water will stand in the harbours.", "p20", 140, parent="climate", rhythm="growing",
    ),
    ProjectData(
        "quantum", "alder", "Simulation of small quantum computers", "quantum", "Physics",
        "Tensor networks on accelerators.", "p21", 240, rhythm="bursty",
    ),
    ProjectData(
        "math", "vestby", "Knots and their invariants", "knots", "Mathematics",
        "A census of knots with twenty crossings.", "p22", 230, rhythm="quiet",
    ),
    ProjectData(
        "old-survey", "vestby", "Survey of northern stars", "northern-stars", "Physics",
        "A finished survey whose data others still use.", "p23", 364, ended_days_ago=40, rhythm="steady",
    ),
    ProjectData(
        "course", "nordhavn", "Course: introduction to high-performance computing, autumn, for students of all "
        "faculties and their guests", "hpc-course", "Computer science",
        "A project with a long name, for sixty students who run small jobs.", "p24", 80, rhythm="quiet",
    ),
)  # fmt: skip


def people(seed: int = SEED) -> list[PersonData]:
    """The six cards, and others up to eighty in all, spread over the organizations."""
    rng = random.Random(seed)
    given, family = list(_GIVEN), list(_FAMILY)
    rng.shuffle(given)
    rng.shuffle(family)
    homes = {p.pi: p.organization for p in PROJECTS}
    result = list(CARDS)
    for number in range(1, PEOPLE_TOTAL - len(CARDS) + 1):
        key = f"p{number:02d}"
        first, last = given[number - 1], family[number - 1]
        home = homes.get(key) or rng.choice(UNIVERSITIES)
        result.append(
            PersonData(key, f"{first} {last}", f"{first}.{last}@{home}.example".lower().replace("æ", "ae"), home)
        )
    return result


def members_of(project: ProjectData, everybody: Sequence[PersonData], seed: int = SEED) -> list[PersonData]:
    """Between one and six colleagues of the same organization, the same for the same seed."""
    rng = random.Random(f"{seed}/{project.key}")
    pis = {p.pi for p in PROJECTS}
    cards = {c.key for c in CARDS}
    near = [p for p in everybody if p.organization == project.organization and p.key not in pis and p.key not in cards]
    chosen = rng.sample(near, min(len(near), rng.randint(1, 6)))
    if project.key == "ice":
        chosen.insert(0, CARDS[0])
    return chosen


def usage_of_day(rhythm: str, day: int, days: int, rng: random.Random) -> float:
    """What share of its fair daily rate a project uses on a day (1.0 = would use all of its quota by the end).

    day   0 … days-1 since the project began
    """
    weekend = 0.45 if day % 7 in (5, 6) else 1.0
    noise = rng.uniform(0.6, 1.4)
    match rhythm:
        case "busy":
            level = 1.0
        case "exhausting":
            level = 1.35
        case "growing":
            level = 0.2 + 1.2 * day / max(days, 1)
        case "bursty":
            level = 2.6 if (day // 11) % 4 == 1 else 0.15
        case "quiet":
            level = 0.12
        case "even":
            return 1.0
        case _:
            level = 0.75
    return level * weekend * noise
