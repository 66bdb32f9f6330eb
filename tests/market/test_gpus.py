"""Names from every provider find their card, and what is not known stays unknown."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.gpus import Gpu, catalogue, identify, matching, nearest

FACTS = Path(os.environ.get("GPUBROKER_TEST_FACTS", Path(__file__).parents[3] / "shared" / "facts")) / "gpu-names.md"
NOTE = re.compile(r" \((?:unverified|docs only|form not given|PCIe \+ bridge, unverified|says 288)\)$")


def name(raw: str, provider: str | None = None, memory_gb: float | None = None, form: str | None = None) -> str | None:
    """The canonical name, or None."""
    seen = identify(raw, provider=provider, memory_gb=memory_gb, form_factor=form).gpu
    return seen.name if seen else None


def sheet() -> list[list[str]]:
    """The rows of the table in the fact sheet; the test is skipped where the sheet is not."""
    if not FACTS.exists():
        pytest.skip(f"no fact sheet at {FACTS}: the alias table is not checked against it")
    table = FACTS.read_text(encoding="utf-8").split("## 4. Table")[1].split("Not in a provider list above")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")
    ]
    return [row for row in rows if row[0] not in {"Canonical", "---"}]


def aliases(row: list[str]) -> Iterator[tuple[str, str, float | None, str | None]]:
    """(provider, raw, memory in GB, form) of each alias in a row."""
    for part in row[5].split("; "):
        provider, _, names = part.partition(": ")
        for found in re.findall(r"`([^`]+)`", names):
            raw, _, form = found.partition(" + socket ")
            megabytes = re.search(r" \(gpu_ram (\d+)\)$", raw)
            memory = int(megabytes[1]) / 1024 if megabytes else 80.0 if raw == "A100 (80)" else None
            raw = re.sub(r" \((?:gpu_ram \d+|80)\)$", "", raw)
            yield provider, raw if provider == "cudo" else NOTE.sub("", raw), memory, form or None


def test_every_card_of_the_fact_sheet_is_known() -> None:
    rows = sheet()
    assert len(rows) == 83
    listed = {gpu.name for gpu in catalogue().values() if gpu.group == "listed"}
    assert {row[0] for row in rows} == listed
    for row in rows:
        gpu = catalogue()[row[0]]
        assert gpu.vendor == row[1]
        assert all(gpu.fits(float(size)) for size in re.findall(r"\d+", row[2].split("(")[0]))


def test_every_alias_of_the_fact_sheet_finds_its_card() -> None:
    wrong = [
        (provider, raw, name(raw, provider, memory, form), row[0])
        for row in sheet()
        for provider, raw, memory, form in aliases(row)
        # The sheet's own rules make this one a card of its own.
        if name(raw, provider, memory, form) != ("RTX-4090D" if raw == "RTX 4090D" else row[0])
    ]
    assert wrong == []


def test_without_the_provider_an_alias_finds_the_same_family_or_nothing() -> None:
    missed = 0
    for row in sheet():
        for provider, raw, memory, form in aliases(row):
            seen = identify(raw, memory_gb=memory, form_factor=form).gpu
            missed += seen is None
            family = identify(raw, provider=provider, memory_gb=memory, form_factor=form).gpu
            assert family is not None
            assert seen is None or seen.family == family.family, (provider, raw)
    # Private codes (`h200ki`) and the short names shared by several cards.
    assert missed <= 8


def test_no_alias_means_two_cards_at_one_provider() -> None:
    rows = list(csv.DictReader(files("market").joinpath("gpu_aliases.csv").read_text(encoding="utf-8").splitlines()))
    meanings: dict[tuple[str, ...], set[str]] = {}
    for row in rows:
        key = (row["provider"], re.sub(r"[^a-z0-9+]", "", row["raw"].lower()), row["memory_gb"], row["form_factor"])
        meanings.setdefault(key, set()).add(row["canonical"])
        assert row["canonical"] in catalogue()
    assert [key for key, cards in meanings.items() if len(cards) > 1] == []


def test_the_further_cards_are_known_too() -> None:
    further = {gpu.name for gpu in catalogue().values() if gpu.group == "further"}
    assert further == {
        "V100-PCIe-32GB", "T4G", "Radeon-Pro-V520", "Radeon-Pro-V620", "M60", "K80", "RTX-3070-Ti", "RTX-4060",
        "RTX-4070", "RTX-5060", "RTX-5070", "Trainium1", "Trainium2", "RTX-4090D",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "provider", "memory_gb", "form", "card"),
    [
        ("NVIDIA  RTX A4500", "runpod", 20, None, "RTX-A4500"),
        ("NVIDIA  A30", None, None, None, "A30"),
        ("RTX 4090D", "vast", 24, None, "RTX-4090D"),
        ("RTX 4090 D", None, None, None, "RTX-4090D"),
        ("vbm-64c-2048gb-8-l40-gpu", "vultr", None, None, "L40S"),
        ("A100_NVLINK_80GB", "fluidstack", None, None, "A100-PCIe-80GB"),
        ("H100 NVLink", None, 80, None, "H100"),
        ("H100NVL", None, None, None, "H100-NVL"),
        ("GB200 NVL72", None, None, None, "GB200"),
        ("NVIDIA H100 80GB HBM3", None, None, None, "H100-SXM"),
        ("8-b300-gpu", None, None, None, "B300"),
        ("gpu_8x_b200_sxm6", None, None, None, "B200"),
        ("gpu-rtx6000", "nebius", None, None, "RTX-PRO-6000-Server"),
        ("gpu_1x_rtx6000", "lambda", None, None, "Quadro-RTX-6000"),
        ("Q RTX 6000", "vast-ai", None, None, "Quadro-RTX-6000"),
        ("RTX 6000", None, 48, None, "RTX-6000-Ada"),
        ("RTX 6000", None, 24, None, "Quadro-RTX-6000"),
        ("RTX 6000", None, 96, None, "RTX-PRO-6000"),
        ("RTX 6000", None, None, None, None),
        ("RTX4000", "paperspace", None, None, "Quadro-RTX-4000"),
        ("RTX 4000 Ada", "runpod", None, None, "RTX-4000-Ada"),
        ("A4000", None, None, None, "RTX-A4000"),
        ("RTX 4070S Ti", None, None, None, "RTX-4070-Ti-SUPER"),
        ("RTX 4070 Ti", None, None, None, "RTX-4070-Ti"),
        ("RTX 3080TI", None, None, None, "RTX-3080-Ti"),
        ("NVIDIA RTX 6000 Pro", None, None, None, "RTX-PRO-6000"),
        ("NVIDIA RTX Pro 6000", "runpod", None, None, "RTX-PRO-6000-Server"),
        ("a100-80gb", "google_compute", 80, None, "A100-SXM4-80GB"),
        ("RTX Pro 6000 SE", None, None, None, "RTX-PRO-6000-Server"),
        ("NVIDIA_A100", "vultr", 80, None, "A100-PCIe-80GB"),
        ("A100", "lambda", 80, "SXM4", "A100-SXM4-80GB"),
        ("A100", None, 80, "pcie", "A100-PCIe-80GB"),
        ("A100", None, 80, None, "A100-80GB"),
        ("A100", None, 40960 / 1024, None, "A100-40GB"),
        ("A100", None, None, None, "A100"),
        ("A100_80G", "shadeform", None, None, "A100-PCIe-80GB"),
        ("A100-80G", "paperspace", None, None, "A100-SXM4-80GB"),
        ("A100-80Gx8", "paperspace", None, None, "A100-SXM4-80GB"),
        ("H100", None, None, None, "H100"),
        ("H100", "skypilot", None, None, "H100-PCIe"),
        ("H100", None, 94, None, "H100-NVL"),
        ("H100 NVL", "cudo", 94, None, "H100-NVL"),
        ("H200", None, None, None, "H200-SXM"),
        ("H200 NVL", None, 143, None, "H200-NVL"),
        ("V100", None, 16, None, "V100-16GB"),
        ("V100", None, 32, None, "V100-32GB"),
        ("Tesla V100", "vast", 32, None, "V100-PCIe-32GB"),
        ("V100", "aws_ec2", 32, None, "V100-SXM2-32GB"),
        ("B300 PC", "vast", 268, None, "B300"),
        ("nvidia_h200_140gb_sxm", "together", None, None, "H200-SXM"),
    ],
)  # fmt: skip
def test_an_awkward_name_means_what_its_provider_means(
    raw: str, provider: str | None, memory_gb: float | None, form: str | None, card: str | None
) -> None:
    assert name(raw, provider, memory_gb, form) == card


@pytest.mark.parametrize(
    ("raw", "megabytes", "memory_gb"),
    [
        ("RTX 4090", 24564, 24), ("RTX 5090", 32607, 32), ("RTX A6000", 49140, 48), ("RTX A2000", 6138, 6),
        ("A40", 46068, 48), ("L40S", 46068, 48), ("A100 SXM4", 40960, 40), ("A100 SXM4", 81920, 80),
        ("H100 SXM", 81559, 80), ("H100 NVL", 95830, 94), ("H200", 143771, 141), ("B200", 183359, 180),
        ("RTX PRO 6000 WS", 97887, 96), ("RTX 4060 Ti", 16380, 16), ("RTX 3060", 12288, 12), ("RTX 4090", 49140, 48),
    ],
)  # fmt: skip
def test_reported_memory_snaps_to_the_size_of_the_card(raw: str, megabytes: int, memory_gb: float) -> None:
    seen = identify(raw, provider="vast", memory_gb=megabytes / 1024)
    assert seen.memory_gb == memory_gb
    assert seen.fraction == 1


@pytest.mark.parametrize(
    ("raw", "reported"),
    [("B300", 262), ("B300", 268), ("B300", 270), ("B300", 288), ("GB200", 184), ("GB200", 192), ("GB300", 270),
     ("GB300", 288), ("MI325X", 256), ("MI325X", 288)],
)  # fmt: skip
def test_cards_reported_with_several_sizes_keep_the_figure(raw: str, reported: float) -> None:
    seen = identify(raw, memory_gb=reported)
    assert seen.gpu is catalogue()[raw]
    assert seen.memory_gb == reported


def test_memory_nobody_stated_is_not_guessed_between_sizes() -> None:
    assert identify("RTX 3060").memory_gb is None
    assert identify("RTX 5060 Ti").memory_gb is None
    assert identify("H100 PCIe").memory_gb == 80
    assert identify("RTX 4060 Ti 16GB").memory_gb == 16


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        ("gpu_8x_h100_sxm5", 8), ("8x H100 (80 GB SXM5)", 8), ("2x_nvidia_h100_80gb_sxm", 2), ("H100x8", 8),
        ("A100-80Gx8", 8), ("1H100.80S.30V", 1), ("8A100.176V", 8), ("vbm-112c-2048gb-8-h100-gpu", 8), ("a100.2x", 2),
        ("A6000_plusx4", 4), ("1gpu-16vcpu-200gb", 1), ("8-b300-gpu", 8), ("gpu-mi300x8-1536gb", 8),
        ("gpu-h100x8-640gb", 8), ("gpu-2x-l40s", 2), ("8× NVIDIA A100", 8), ("vcg-l40s-32c-375g-96vram", 2),
        ("RTX 4090", None), ("MI300X", None), ("A100X", None), ("RX 7900 XTX", None), ("H100", None),
    ],
)  # fmt: skip
def test_the_count_is_read_from_a_sku(raw: str, count: int | None) -> None:
    assert identify(raw).count == count


@pytest.mark.parametrize(
    ("raw", "provider", "reported", "card", "memory_gb", "fraction"),
    [
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb", "runpod", 24, "RTX-PRO-6000-Server", 24, 1 / 4),
        ("A100 80GB MIG 3g.40gb", None, None, "A100-80GB", 40, 1 / 2),
        ("H100 SXM MIG 1g", None, None, "H100-SXM", None, 1 / 7),
        ("NVIDIA_A100", "vultr", 4, "A100-PCIe-80GB", 4, 1 / 20),
        ("vcg-a100-1c-6g-4vram", None, None, "A100", 4, 1 / 20),
        ("A10", "azure", 4, "A10", 4, 1 / 6),
        ("A10", "azure", 8, "A10", 8, 1 / 3),
        ("L4", "aws_ec2", 2.8, "L4", 2.8, 1 / 8),
        ("L4", "aws_ec2", 11.2, "L4", 11.2, 1 / 2),
    ],
)  # fmt: skip
def test_a_slice_is_never_a_whole_card(
    raw: str, provider: str | None, reported: float | None, card: str, memory_gb: float | None, fraction: float
) -> None:
    seen = identify(raw, provider=provider, memory_gb=reported)
    assert seen.gpu is catalogue()[card]
    assert seen.memory_gb == memory_gb
    assert seen.fraction == pytest.approx(fraction)


@pytest.mark.parametrize(
    "raw",
    ["Banana 9000", "GTX 1080 Ti", "H20", "H800", "A2", "L20", "GB10", "RTX 4090 Laptop GPU", "RTX 2080 Super Max-Q",
     "RTX PRO 4000 Blackwell", "RTX A1000", "RTX 3080 Ti Super", "NVIDIA RTX PRO-A6000 SE", "", "8x", "GPU", "V100S"],
)  # fmt: skip
def test_an_unknown_name_stays_unknown(raw: str) -> None:
    seen = identify(raw)
    assert (seen.gpu, seen.cpu_arch, seen.fraction) == (None, None, 1)


def test_form_and_host_come_with_the_card() -> None:
    assert identify("H100 PCIE").form_factor == "PCIe"
    assert identify("H100", memory_gb=80, form_factor="nvlink").form_factor is None
    assert identify("A100", form_factor="sxm4").form_factor == "SXM4"
    assert {gpu.name for gpu in catalogue().values() if gpu.cpu_arch == "arm64"} == {"GH200", "GB200", "GB300", "T4G"}
    assert identify("GH200_480GB", provider="prime", memory_gb=480).memory_gb == 96


@given(
    st.text(max_size=300),
    st.one_of(st.none(), st.text(max_size=20)),
    st.one_of(st.none(), st.floats()),
    st.one_of(st.none(), st.text(max_size=20)),
)
def test_reading_never_fails(raw: str, provider: str | None, memory_gb: float | None, form: str | None) -> None:
    seen = identify(raw, provider=provider, memory_gb=memory_gb, form_factor=form)
    assert seen.count is None or seen.count >= 1
    assert 0 < seen.fraction <= 1
    assert seen.memory_gb is None or 0 < seen.memory_gb < 1_000_000


@given(
    st.sampled_from(sorted(catalogue())),
    st.sampled_from(["{}", "NVIDIA {}", "8x {}", "{} 80GB", "{}x8", "{} MIG 1g.10gb", "{} GPU", "{} Ti"]),
)
def test_no_dressing_of_a_name_makes_it_another_family(card: str, dressing: str) -> None:
    seen = identify(dressing.format(card)).gpu
    family = catalogue()[card].family
    assert seen is None or seen.family in {family, f"{family}-Ti"}


@pytest.mark.parametrize("card", sorted(catalogue()))
def test_a_canonical_name_is_its_own_reading(card: str) -> None:
    assert name(card) == card
    assert name(card.lower().replace("-", " ")) == card


@pytest.mark.requirement("FR-PROV-004")
@pytest.mark.parametrize(
    ("asked", "cards"),
    [
        ("H100", {"H100", "H100-SXM", "H100-PCIe", "H100-NVL"}),
        ("h100 sxm", {"H100-SXM"}),
        ("nvidia h100", {"H100", "H100-SXM", "H100-PCIe", "H100-NVL"}),
        ("8x h100", {"H100", "H100-SXM", "H100-PCIe", "H100-NVL"}),
        ("a100 80gb", {"A100-80GB", "A100-SXM4-80GB", "A100-PCIe-80GB", "A100X"}),
        ("A100-SXM4-80GB", {"A100-SXM4-80GB"}),
        ("v100 32gb", {"V100-32GB", "V100-SXM2-32GB", "V100-PCIe-32GB"}),
        ("4090", {"RTX-4090", "RTX-4090D"}),
        ("RTX_4090", {"RTX-4090", "RTX-4090D"}),
        ("l40", {"L40", "L40S"}),
        ("L40S", {"L40S"}),
        ("A6000", {"RTX-A6000"}),
        ("MI300X", {"MI300X"}),
        ("mi300", {"MI300X", "MI300A"}),
        ("H200", {"H200-SXM", "H200-NVL"}),
        ("b200", {"B200"}),
        ("a10", {"A10", "A10G"}),
        ("NVIDIA H100 80GB HBM3", {"H100-SXM"}),
        ("rtx pro 6000", {"RTX-PRO-6000", "RTX-PRO-6000-Server", "RTX-PRO-6000-Workstation", "RTX-PRO-6000-MaxQ"}),
        ("banana", set[str]()),
        ("", set[str]()),
    ],
)  # fmt: skip
def test_a_persons_word_selects_the_cards_it_names(asked: str, cards: set[str]) -> None:
    assert matching(asked) == cards


@pytest.mark.parametrize("card", sorted(catalogue()))
def test_every_card_can_be_asked_for_by_its_name(card: str) -> None:
    assert card in matching(card)


@given(st.text(max_size=60))
def test_any_word_selects_known_cards_only(text: str) -> None:
    assert matching(text) <= set(catalogue())
    assert set(nearest(text)) <= set(catalogue())


def test_a_misspelled_card_has_near_ones() -> None:
    assert nearest("rtx4091")[0] == "RTX-4090"
    assert "H100" in nearest("H10O")
    assert nearest("banana") == []
    assert len(nearest("RTX 40", limit=2)) <= 2


def published() -> list[Gpu]:
    """The cards whose figures are published, generic ones aside."""
    return [gpu for gpu in catalogue().values() if gpu.specs_source and not gpu.generic]


def test_figures_are_dense_sourced_and_sane() -> None:
    assert len(published()) >= 30
    for gpu in published():
        assert gpu.fp32_tflops is None or gpu.fp32_tflops > 0, gpu.name
        assert gpu.memory_bandwidth_gbps, gpu.name
        assert gpu.sparse_factor in {None, 2, 4}, gpu.name
        assert gpu.fp16_tflops is None or gpu.bf16_tflops in {None, gpu.fp16_tflops}
    for gpu in catalogue().values():
        if gpu.specs_source is None:
            assert gpu.fp32_tflops is gpu.bf16_tflops is gpu.fp8_tflops is gpu.memory_bandwidth_gbps is None, gpu.name


def test_eight_bit_floats_are_twice_as_fast_where_the_hardware_makes_them_so() -> None:
    checked = 0
    for gpu in published():
        if gpu.architecture in {"Hopper", "Ada Lovelace", "CDNA3", "Blackwell"} and gpu.fp8_tflops and gpu.bf16_tflops:
            # The L40S data sheet itself disagrees by 1.2 %.
            assert gpu.fp8_tflops == pytest.approx(2 * gpu.bf16_tflops, rel=0.013 if gpu.name == "L40S" else 0.01)
            checked += 1
    assert checked >= 12
    assert catalogue()["Gaudi3"].fp8_tflops == catalogue()["Gaudi3"].bf16_tflops
    assert catalogue()["Trainium1"].fp8_tflops == catalogue()["Trainium1"].bf16_tflops


def test_no_card_has_a_format_its_hardware_lacks() -> None:
    for gpu in catalogue().values():
        if gpu.architecture in {"Volta", "Turing", "Pascal", "Maxwell", "Kepler"}:
            assert gpu.bf16_tflops is gpu.tf32_tflops is gpu.fp8_tflops is None, gpu.name
        if gpu.architecture in {"Ampere", "Volta"}:
            assert gpu.fp8_tflops is None, gpu.name
        if gpu.architecture == "Volta":
            assert gpu.int8_tops is None, gpu.name


@pytest.mark.parametrize(
    ("card", "figure", "wrong"),
    [
        ("H100-SXM", "fp16_tflops", 133), ("H100-SXM", "bf16_tflops", 1978.9), ("H100-NVL", "fp16_tflops", 266),
        ("MI300X", "fp16_tflops", 2614.9), ("B200", "fp8_tflops", 9000), ("Trainium2", "bf16_tflops", 420),
        ("Trainium2", "memory_bandwidth_gbps", 4100), ("RTX-4090", "fp32_tflops", 35),
        ("H100-PCIe", "fp16_tflops", 750), ("A100-PCIe-40GB", "memory_bandwidth_gbps", 2000),
        ("A100-SXM4-40GB", "memory_bandwidth_gbps", 2039),
    ],
)  # fmt: skip
def test_wrong_figures_in_circulation_are_not_ours(card: str, figure: str, wrong: float) -> None:
    value = getattr(catalogue()[card], figure)
    assert value is not None
    assert value != pytest.approx(wrong, rel=0.005)


def test_a_generic_card_promises_no_more_than_the_slowest_of_its_family() -> None:
    generic = [gpu for gpu in catalogue().values() if gpu.generic and gpu.specs_source]
    assert {gpu.name for gpu in generic} >= {"H100", "A100-80GB", "A100-40GB", "V100-16GB", "V100-32GB"}
    for gpu in generic:
        for other in catalogue().values():
            if (
                other.family == gpu.family
                and not other.generic
                and set(other.memory_options) <= set(gpu.memory_options)
            ):
                assert other.memory_bandwidth_gbps is None or gpu.memory_bandwidth_gbps is not None
                assert (gpu.memory_bandwidth_gbps or 0) <= (other.memory_bandwidth_gbps or 0)
                assert (gpu.fp16_tflops or 0) <= (other.fp16_tflops or 0)
