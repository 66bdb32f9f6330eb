"""IBM Cloud: GPU virtual servers; the catalogue API has no price by machine, so the figures are old list prices."""

from __future__ import annotations

from adapters.published import PublishedOnly


class IbmWatson(PublishedOnly):
    """IBM Cloud, from its published prices."""

    name, title, website = "ibm_watson", "IBM Cloud", "https://www.ibm.com/cloud"
    source_url = "https://www.ibm.com/cloud/gpu"
    notice = "IBM publishes no price by machine profile: these figures are undated (2023 to 2025) and may be outdated."
