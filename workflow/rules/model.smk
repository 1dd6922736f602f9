# Weights to start from, one checkpoint and its embeddings for every model of params.yaml.
#
# INPUTS   data/index/{split}.parquet, data/thumbnails/{split}.npy; params.yaml: train, models.{model}, embed
# OUTPUTS  data/weights/{model}.safetensors                 what its training starts from (nothing, if from scratch)
#          results/models/{model}/model.safetensors         weights, with the parameters that built them
#          results/models/{model}/last.safetensors          the same, at the end of the training
#          results/training/{model}/summary.json            parameters, FLOPs, best epoch
#          results/training/{model}/plots/metrics/*.tsv     loss, learning rate and valid mAP of each epoch
#          results/embeddings/{model}/{split}.npy           float32 N x D, row i = index row i


rule weights:
    """Pretrained weights of one model, by name or from a file, as far as they fit."""
    input:
        code=engine.code("weights"),
        file=lambda wildcards: PARAMS.models[wildcards.model].network.file() or [],
    output:
        "data/weights/{model}.safetensors",
    log:
        "logs/weights/{model}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        network=lambda wildcards: config["models"][wildcards.model]["network"],
        input=lambda wildcards: config["models"][wildcards.model]["input"],
    message:
        "{wildcards.model}: weights to start from"
    shell:
        "python scripts/weights.py --model {wildcards.model} --out {output} --log {log}"


rule train:
    """Train one model on the training splits."""
    input:
        code=engine.code("train"),
        start=rules.weights.output,
        index=expand("data/index/{split}.parquet", split=PARAMS.train.splits),
        thumbnails=expand("data/thumbnails/{split}.npy", split=PARAMS.train.splits),
        watch=lambda wildcards: (
            ["data/index/valid.parquet", "data/thumbnails/valid.npy"]
            if PARAMS.watched(wildcards.model)
            else []
        ),
    output:
        checkpoint="results/models/{model}/model.safetensors",
        last="results/models/{model}/last.safetensors",
        summary="results/training/{model}/summary.json",
        loss="results/training/{model}/plots/metrics/loss.tsv",
        learning_rate="results/training/{model}/plots/metrics/learning_rate.tsv",
        valid="results/training/{model}/plots/metrics/valid_mAP.tsv",
    log:
        "logs/train/{model}.log",
    conda:
        "../../envs/environment.yaml"
    threads: max(1, CORES // GPUS)
    resources:
        gpu=1,
    params:
        section=lambda wildcards: config["models"][wildcards.model],
        splits=config["train"],
    message:
        "{wildcards.model}: train"
    shell:
        "python scripts/train.py --model {wildcards.model} --index {input.index} --thumbnails {input.thumbnails}"
        " $(test -z '{input.watch}' || echo --watch {input.watch}) --start {input.start}"
        " --out {output.checkpoint} --last {output.last} --summary {output.summary}"
        " --curves results/training/{wildcards.model} --speed results/speed/{wildcards.model} --log {log}"


rule embed:
    """Embed one split with one model."""
    input:
        code=engine.code("embed"),
        checkpoint=rules.train.output.checkpoint,
        thumbnails=rules.thumbnails.output,
    output:
        "results/embeddings/{model}/{split}.npy",
    log:
        "logs/embed/{model}/{split}.log",
    conda:
        "../../envs/environment.yaml"
    threads: max(1, CORES // GPUS)
    resources:
        gpu=1,
    params:
        section=config["embed"],
    message:
        "{wildcards.model}: embed {wildcards.split}"
    shell:
        "python scripts/embed.py --checkpoint {input.checkpoint} --thumbnails {input.thumbnails}"
        " --out {output} --log {log}"
