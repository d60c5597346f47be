// info: what this program is and carries.
#include "runtime/app/app.h"
#include "runtime/app/terminal.h"
#include "runtime/core/cpu.h"
#include "runtime/device/images.h"

#include <nlohmann/json.hpp>

namespace qwench::app {

namespace {

using nlohmann::ordered_json;

struct Options {
  std::string bundle;
  bool json = false;
};

ordered_json sections(const ModelFile &model) {
  ordered_json list = ordered_json::array();
  for (const std::unique_ptr<Bundle> &bundle : model.bundles())
    for (const QwenchSection &section : bundle->sections())
      list.push_back({{"kind", sectionName(section.kind)},
                      {"file", bundle->file().path()},
                      {"offset", section.offset},
                      {"bytes", section.bytes}});
  return list;
}

/// "sm_80, sm_90a, PTX of sm_90" of a program for GPUs; "none" of others.
std::string imagesOf(const QwenchProgram &program) {
  if (!program.device)
    return "none";
  return describeImages({program.device->images, static_cast<size_t>(program.device->image_count)});
}

/// How launches of decode steps run, as --schedule of qwench names it.
std::string scheduleOf(const QwenchProgram &program) {
  if (!program.device)
    return "none";
  return isPersistent(*program.device) ? "persistent" : "graph";
}

std::string weightsPlace(const ModelFile &model) {
  if (model.metadata().randomWeights)
    return "random, seed " + std::to_string(model.metadata().randomWeights->seed);
  return model.weights().file->path();
}

ordered_json describe(const ModelFile &model) {
  const QwenchProgram &program = qwench_program;
  const Metadata &metadata = model.metadata();
  char hash[20];
  snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(program.plan_hash));
  Status cpu = requireCpuFeatures(program.features, program.cpu);
  ordered_json config = ordered_json::parse(metadata.config, nullptr, false);
  return {{"name", program.name},
          {"architecture", metadata.architecture},
          {"qwench_version", metadata.version},
          {"target", program.target},
          {"cpu", program.cpu},
          {"features", program.features},
          {"gpu_images", imagesOf(program)},
          {"gpu_schedule", scheduleOf(program)},
          {"runs_here", static_cast<bool>(cpu)},
          {"dtype", program.dtype},
          {"kv_dtype", program.kv_dtype},
          {"abi_version", program.abi_version},
          {"plan_hash", hash},
          {"vocab_size", program.vocab_size},
          {"layers", program.layers},
          {"max_context", program.max_context},
          {"prefill_rows", program.prefill_rows},
          {"decode_rows", program.decode_rows},
          {"weights", weightsPlace(model)},
          {"weight_bytes", program.weight_bytes},
          {"weight_bytes_per_token", program.weight_bytes_per_token},
          {"cache_bytes_per_position", program.cache_bytes_per_position},
          {"arena_bytes", program.arena_bytes},
          {"thread_scratch_bytes", program.thread_scratch_bytes},
          {"flops_per_token", program.flops_per_token},
          {"tokenizer", model.has(QWENCH_SECTION_TOKENIZER)},
          {"chat_template", model.has(QWENCH_SECTION_CHAT_TEMPLATE)},
          {"config", config.is_discarded() ? ordered_json() : config},
          {"sections", sections(model)}};
}

/// "key   value" lines, and a line for each section.
std::string table(const ordered_json &description) {
  std::string text;
  for (const auto &[key, value] : description.items()) {
    if (key == "config") // long, and summarised by the rest
      continue;
    std::string shown = value.is_string() ? value.get<std::string>() : value.dump();
    if (key == "sections") {
      for (const ordered_json &section : value)
        text += "section                   " + section["kind"].get<std::string>() + ", " +
                std::to_string(section["bytes"].get<uint64_t>()) + " bytes\n";
      continue;
    }
    text += key + std::string(key.size() < 26 ? 26 - key.size() : 1, ' ') + shown + "\n";
  }
  return text;
}

Status run(const Options &options) {
  Result<ModelFile> model = openModelFile(options.bundle);
  if (!model)
    return model.takeError();
  ordered_json description = describe(*model);
  return writeOut(options.json ? description.dump(2) + "\n" : table(description));
}

} // namespace

void addInfo(CLI::App &app, Command &chosen) {
  auto options = std::make_shared<Options>();
  CLI::App *sub = app.add_subcommand("info", "what this program is and carries");
  sub->add_flag("--json", options->json, "print JSON");
  addBundleOption(*sub, options->bundle);
  sub->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

} // namespace qwench::app
