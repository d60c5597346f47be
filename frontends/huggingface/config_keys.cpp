#include "frontends/huggingface/config_keys.h"

#include <algorithm>
#include <array>

namespace qwench::hf {
namespace {

/// Keys that concern training, generation, other tools or other outputs, not what the model computes.
constexpr std::string_view kHarmless[] = {
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_experts_implementation",
    "_name_or_path",
    "attention_dropout",
    "attn_implementation",
    "bad_words_ids",
    "begin_suppress_tokens",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "experts_implementation",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "id2label",
    "initializer_range",
    "is_decoder",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "prefix",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torchscript",
    "transformers_version",
    "typical_p",
    "use_bfloat16",
    "use_cache",
};

/// Keys of relatives of this architecture, and the value at which they change nothing. Null is always such a
/// value.
struct NeutralKey {
  std::string_view key;
  const char *neutral; ///< JSON text
};
constexpr NeutralKey kMustBeNeutral[] = {
    {"add_cross_attention", "false"},
    {"attention_multiplier", "1.0"},
    {"attn_logit_softcapping", "null"},
    {"clip_qkv", "null"},
    {"compression_config", "null"},
    {"dual_chunk_attention_config", "null"},
    {"embedding_multiplier", "1.0"},
    {"final_logit_softcapping", "null"},
    {"first_k_dense_replace", "0"},
    {"is_encoder_decoder", "false"},
    {"logit_scale", "1.0"},
    {"mlp_bias", "false"},
    {"n_group", "1"},
    {"n_shared_experts", "0"},
    {"num_shared_experts", "0"},
    {"partial_rotary_factor", "1.0"},
    {"pruned_heads", "{}"},
    {"qkv_bias", "false"},
    {"residual_multiplier", "1.0"},
    {"routed_scaling_factor", "1.0"},
    {"scoring_func", "\"softmax\""},
    {"shared_expert_intermediate_size", "0"},
    {"topk_group", "1"},
    {"use_qk_norm", "true"},
};

} // namespace

void checkOtherKeys(ObjectReader &reader, std::string_view where, std::vector<std::string> &warnings) {
  for (const NeutralKey &entry : kMustBeNeutral) {
    std::string key(entry.key);
    const Json *found = reader.value(key);
    if (found && *found != Json::parse(entry.neutral))
      reader.fail("expected " + key + " " + entry.neutral + " (nothing else is supported), found " +
                  show(*found));
  }
  for (const std::string &key : reader.unread())
    if (std::find(std::begin(kHarmless), std::end(kHarmless), key) == std::end(kHarmless))
      warnings.push_back(std::string(where) + ": unknown key " + show(key) + " is ignored");
}

} // namespace qwench::hf
