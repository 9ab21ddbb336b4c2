"""The same transformers in Hugging Face's transformers.

usage: transformers_twin.py FOLDER

FOLDER holds cases.json (a list of [class, Lockstep's model]), tokens.safetensors and, for each case i,
i.ours.safetensors (weights that Lockstep publishes). For each case this writes i.theirs.safetensors (random weights, as
save_pretrained writes them) and i.logits.safetensors: what the class makes of the tokens `from_ours` and `from_theirs`.
Prints null.
"""

import json
import shutil
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file


def config_of(name, model, vocab):
    common = {"vocab_size": vocab, "tie_word_embeddings": model.get("tied", True), "bos_token_id": 0, "eos_token_id": 0}
    if name == "GPT2LMHeadModel":
        dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        return transformers.GPT2Config(
            n_layer=model["layers"], n_head=model["heads"], n_embd=model["width"], n_positions=model["context"],
            n_inner=model["mlpWidth"], **dropout, **common,
        )
    config = {"LlamaForCausalLM": transformers.LlamaConfig, "Qwen2ForCausalLM": transformers.Qwen2Config}[name]
    bias = {"attention_bias": model["bias"], "mlp_bias": model["bias"]} if name == "LlamaForCausalLM" else {}
    return config(
        num_hidden_layers=model["layers"], num_attention_heads=model["heads"], hidden_size=model["width"],
        num_key_value_heads=model.get("kvHeads", model["heads"]), intermediate_size=model["mlpWidth"],
        max_position_embeddings=model["context"], rms_norm_eps=model["normEps"],
        rope_parameters={"rope_type": "default", "rope_theta": model.get("ropeTheta", 10000.0)}, **bias, **common,
    )


def main():
    folder = sys.argv[1]
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(3)
    tokens = load_file(f"{folder}/tokens.safetensors")["tokens"].long()
    for i, (name, model) in enumerate(json.load(open(f"{folder}/cases.json"))):
        ours = load_file(f"{folder}/{i}.ours.safetensors")
        embedding = "transformer.wte.weight" if name == "GPT2LMHeadModel" else "model.embed_tokens.weight"
        theirs = getattr(transformers, name)(config_of(name, model, len(ours[embedding]))).eval()
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter.normal_(0.1, 0.3)
            from_theirs = theirs(tokens).logits
            theirs.save_pretrained(f"{folder}/{i}")
            shutil.move(f"{folder}/{i}/model.safetensors", f"{folder}/{i}.theirs.safetensors")
            assert sorted(ours) == sorted(load_file(f"{folder}/{i}.theirs.safetensors")), sorted(ours)
            theirs.load_state_dict(ours, strict=False)
            from_ours = theirs(tokens).logits
        logits = {"from_ours": from_ours.contiguous(), "from_theirs": from_theirs.contiguous()}
        save_file(logits, f"{folder}/{i}.logits.safetensors")
    print("null")


if __name__ == "__main__":
    main()
