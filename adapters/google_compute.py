"""Google Compute Engine: accelerator machines on demand and spot in every region, list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class GoogleCompute(PublishedOnly):
    """Google Compute Engine, from its published prices."""

    name, title, website = "google_compute", "Google Compute Engine", "https://cloud.google.com/compute"
    source_url = "https://cloud.google.com/compute/gpus-pricing"
    notice = (
        "List prices: Google states one for nearly every region, also where a machine is not offered yet; whether it "
        "is sold there, and stock, are not known."
    )
