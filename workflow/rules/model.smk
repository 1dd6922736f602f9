# One checkpoint and its embeddings for every model of params.yaml.
#
# INPUTS   data/index/{split}.parquet, data/thumbnails/{split}.npy; params.yaml: models.{model}, embed
# OUTPUTS  results/models/{model}/model.safetensors         weights, with the parameters that built them
#          results/training/{model}/plots/metrics/*.tsv     loss and learning rate of each epoch
#          results/embeddings/{model}/{split}.npy           float32 N x D, row i = index row i


rule train:
    """Train one model on the training split."""
    input:
        code=engine.code("train"),
        index="data/index/train.parquet",
        thumbnails="data/thumbnails/train.npy",
    output:
        checkpoint="results/models/{model}/model.safetensors",
        loss="results/training/{model}/plots/metrics/loss.tsv",
        learning_rate="results/training/{model}/plots/metrics/learning_rate.tsv",
    log:
        "logs/train/{model}.log",
    conda:
        "../../envs/environment.yaml"
    threads: max(1, CORES // GPUS)
    resources:
        gpu=1,
    params:
        section=lambda wildcards: config["models"][wildcards.model],
    message:
        "{wildcards.model}: train"
    shell:
        "python scripts/train.py --model {wildcards.model} --index {input.index} --thumbnails {input.thumbnails}"
        " --out {output.checkpoint} --curves results/training/{wildcards.model}"
        " --speed results/speed/{wildcards.model} --log {log}"


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
