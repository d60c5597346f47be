#include "benchmarks/kernels/families.h"

namespace qwench::kernels {

namespace {

class Families {
public:
  explicit Families(const std::string &configs)
      : dense(configs + "/qwen3-0.6b.json"), mixture(configs + "/qwen3-30b-a3b-6-layers.json") {}

  std::vector<Spec> take() {
    linear();
    grouped();
    attention();
    rows();
    return std::move(all);
  }

private:
  Spec &add(const std::string &name, Spec::Kind kind, const OpChoice &op, const Rows &rows) {
    return all.emplace_back(Spec{name, kind, op, rows});
  }

  /// NAME/MATRIX/FORMAT/rows:N
  void linear() {
    for (const char *matrix : {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"})
      for (const char *format : {"bf16", "int8", "int4", "mxfp4", "nvfp4", "fp8", "f32"})
        for (int64_t rows : {1, 8, 32, 512})
          add(std::string("linear/") + matrix + "/" + format + "/rows:" + std::to_string(rows), Spec::Kind::Linear,
              {dense, format, "", false, {"fused_linear"}, matrix}, {rows});
    for (const char *format : {"bf16", "int8"})
      add(std::string("linear/lm_head/") + format + "/rows:1", Spec::Kind::Linear,
          {dense, format, "", false, {"fused_linear"}, "embed_tokens"}, {1, 0, /*outputs=*/true});
  }

  void grouped() {
    for (const char *op : {"grouped_linear", "grouped_linear_combine"})
      for (const char *format : {"bf16", "int8", "int4"}) {
        const std::string name = std::string(op) + "/" + format;
        const OpChoice choice = {mixture, format, "", false, {op}};
        add(name + "/rows:1", Spec::Kind::Linear, choice, {1}).routing = Spec::Routing::Uniform;
        add(name + "/rows:16/uniform", Spec::Kind::Linear, choice, {16}).routing = Spec::Routing::Uniform; // one for each expert
        add(name + "/rows:512/uniform", Spec::Kind::Linear, choice, {512}).routing = Spec::Routing::Uniform;
        add(name + "/rows:512/same_experts", Spec::Kind::Linear, choice, {512}).routing = Spec::Routing::SameExperts;
      }
  }

  /// A decode's attention is two ops: over runs of the keys, and their combination.
  void attention() {
    for (const char *cache : {"bf16", "int8", "int4", "fp8"}) {
      const std::string name = std::string("attention/") + cache;
      add(name + "/prefill:512", Spec::Kind::Attention, {dense, "bf16", cache, false, {"attention"}}, {512});
      for (int64_t context : {8192, 32768})
        add(name + "/decode/context:" + std::to_string(context), Spec::Kind::Attention,
            {dense, "bf16", cache, false, {"attention", "attention_combine"}}, {1, context - 1});
    }
  }

  void rows() {
    auto each = [&](const std::string &name, const OpChoice &op, std::initializer_list<int64_t> counts) {
      for (int64_t rows : counts)
        add(name + "/rows:" + std::to_string(rows), Spec::Kind::Rows, op, {rows});
    };
    each("embedding/bf16", {dense, "bf16", "", false, {"embedding"}}, {1, 512});
    each("rms_norm/bf16", {dense, "bf16", "", false, {"rms_norm"}}, {1, 512});
    each("rms_norm/int8", {dense, "int8", "", false, {"rms_norm"}}, {1, 8}); // quantizes what it writes
    each("quantize/int8", {dense, "int8", "", false, {"quantize"}}, {1, 8});
    for (const char *cache : {"bf16", "int8", "int4", "fp8"})
      each(std::string("qk_norm_rope_cache/") + cache, {dense, "bf16", cache, false, {"qk_norm_rope_cache"}}, {1, 512});
    each("router/bf16", {mixture, "bf16", "", false, {"fused_router"}}, {1, 512});
  }

  std::string dense, mixture;
  std::vector<Spec> all;
};

} // namespace

std::vector<Spec> specs(const std::string &configs) { return Families(configs).take(); }

} // namespace qwench::kernels
