# The raw download, its index and the thumbnails.
#
# INPUTS   params.yaml: download, thumbnails
# OUTPUTS  data/raw/{split}.zip, .json      the zip as it came, and its SHA-256
#          data/index/{split}.parquet       one row per thumbnail
#          data/thumbnails/{split}.npy      uint8 N x H x W x 3, row i = index row i
#          results/description/*            statistics of the four splits, plots, a contact sheet


rule download:
    """The zip of one split, checked; see `download.source`."""
    input:
        code=engine.code("download", "core", "raw", "params", "sources", "synthetic"),
    output:
        zip="data/raw/{split}.zip",
        receipt="data/raw/{split}.json",
    log:
        "logs/download/{split}.log",
    localrule: True
    conda:
        engine.ENVIRONMENT
    threads: engine.THREADS
    params:
        section=config["download"],
        file=lambda wildcards: engine.content(outside.download, PARAMS, wildcards.split),
    message:
        "{wildcards.split}: raw zip"
    shell:
        "python scripts/download.py --split {wildcards.split:q} --out {output.zip:q} --receipt {output.receipt:q}"
        " --threads {threads} --log {log:q}"


rule index:
    """The Parquet index of one split, from its zip's directory, every name checked."""
    input:
        code=engine.code("index", "core", "raw", "data"),
        zip=rules.download.output.zip,
        receipt=rules.download.output.receipt,
    output:
        "data/index/{split}.parquet",
    log:
        "logs/index/{split}.log",
    group:
        "data"
    conda:
        engine.ENVIRONMENT
    resources:
        runtime=20,
        mem_mb=2000,
    message:
        "{wildcards.split}: index"
    shell:
        "python scripts/index.py --split {wildcards.split:q} --zip {input.zip:q} --receipt {input.receipt:q}"
        " --out {output:q} --log {log:q}"


rule thumbnails:
    """All images of one split, decoded and resized once."""
    input:
        code=engine.code("thumbnails", "core", "raw", "data", "params"),
        zip=rules.download.output.zip,
        index=rules.index.output,
    output:
        "data/thumbnails/{split}.npy",
    log:
        "logs/thumbnails/{split}.log",
    group:
        "data"
    conda:
        engine.ENVIRONMENT
    threads: engine.THREADS
    resources:
        runtime=120,
        mem_mb=4000,
    params:
        section=config["thumbnails"],
    message:
        "{wildcards.split}: thumbnails"
    shell:
        "python scripts/thumbnails.py --zip {input.zip:q} --index {input.index:q} --out {output:q}"
        " --threads {threads} --log {log:q}"


rule describe:
    """Statistics of the data beside the published counts, as tables and plots, and a contact sheet."""
    input:
        code=engine.code("describe", "core", "raw", "data", "reports"),
        index=expand("data/index/{split}.parquet", split=SPLITS),
        thumbnails=expand("data/thumbnails/{split}.npy", split=SPLITS),
    output:
        json=report(
            "results/description/statistics.json",
            caption="../report/statistics.rst",
            category="1. Data",
            labels={"what": "all statistics (JSON)"},
        ),
        table="results/description/statistics.parquet",
        sheet=report(
            "results/description/contact_sheet.png",
            caption="../report/contact_sheet.rst",
            category="1. Data",
            labels={"what": "a few actions"},
        ),
        plots=[
            report(
                f"results/description/{name}.svg",
                caption="../report/statistics.rst",
                category="1. Data",
                labels={"what": name.replace("_", " ")},
            )
            for name in ["boxes_per_action", "classes", "images_per_identity", "sizes"]
        ],
    log:
        "logs/describe.log",
    conda:
        engine.ENVIRONMENT
    resources:
        runtime=60,
        mem_mb=4000,
    message:
        "statistics of the data"
    shell:
        "python scripts/describe.py --index {input.index:q} --thumbnails {input.thumbnails:q} --json {output.json:q}"
        ' --parquet {output.table:q} --sheet {output.sheet:q} --plots "$(dirname {output.plots[0]:q})" --log {log:q}'
