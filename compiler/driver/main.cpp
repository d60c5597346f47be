// qwench: from a Qwen3 model directory to one executable.
#include "compiler/driver/compile.h"
#include "compiler/driver/inspect.h"
#include "compiler/driver/version.h"
#include "passes/Pipelines.h"

#include <CLI/CLI.hpp>

#include <cstdio>

using namespace qwench;

namespace {

constexpr const char *kAbout =
    "Compiles Qwen3 language models (dense and MoE) ahead of time: a Hugging Face directory becomes one "
    "executable "
    "with code, weights, tokenizer and command line.\n\n"
    "  qwench compile Qwen3-0.6B -o qwen      make the program\n"
    "  ./qwen                                 chat with it\n"
    "  ./qwen --help                          what else it can do\n"
    "  qwench inspect Qwen3-0.6B              look into a model directory or a compiled program";

constexpr const char *kCompileAbout = "Compiles MODEL: a directory as Hugging Face ships it, a bare "
                                      "config.json (with --random-weights), or a .mlir file "
                                      "that --emit printed.";

constexpr const char *kCompileExamples =
    "Examples:\n"
    "  qwench compile Qwen3-0.6B -o qwen                        for this machine's CPU\n"
    "  qwench compile Qwen3-30B-A3B -o qwen --max-context 8192 --external-weights\n"
    "  qwench compile Qwen3-0.6B -o qwen --cpu sapphirerapids --dtype f32\n"
    "  qwench compile Qwen3-0.6B -o qwen --dtype int4 --dtype-for 'lm_head=int8,*.down_proj=int4:32'\n"
    "  qwench compile Qwen3-0.6B -o qwen --target cuda --gpu sm_80,sm_90a\n"
    "  qwench compile config.json -o shape --random-weights 1   time a shape without its weights\n"
    "  qwench compile Qwen3-0.6B --emit fused                   the program after fusion, on the terminal\n"
    "  qwench compile fused.mlir --emit asm -o out.s            go on from that text\n"
    "  qwench compile Qwen3-0.6B --emit planned --print-after fuse-qkv --disable-fusion fuse-norm\n";

constexpr const char *kInspectExamples = "Examples:\n"
                                         "  qwench inspect Qwen3-0.6B\n"
                                         "  qwench inspect ./qwen --json\n";

/// The text options of `compile` as they stand on the command line.
struct CompileArguments {
  CompileOptions options;
  std::string dtype, kvDtype, emit = "exe";
  std::vector<std::string> dtypeFor;
  int64_t maxContext = 0;
  uint64_t seed = 0;
  CLI::Option *maxContextOption = nullptr, *seedOption = nullptr;
};

std::string fusionList() {
  std::string list;
  for (llvm::StringLiteral name : fusionNames())
    list += (list.empty() ? "" : ", ") + name.str();
  return list;
}

CLI::App *addCompile(CLI::App &app, CompileArguments &arguments) {
  CompileOptions &options = arguments.options;
  CLI::App *command = app.add_subcommand("compile", kCompileAbout);
  command->footer(kCompileExamples);
  command->add_option("MODEL", options.model, "model directory, config.json, or .mlir file")->required();
  command->add_option("-o,--output", options.output,
                      "file to write; - is standard output, the default for text");
  command->add_option("--target", options.target, "kind of machine: x86-64 (default), cuda or rocm");
  command->add_option("--cpu", options.cpu,
                      "native (default), x86-64-v4, znver4, sapphirerapids, ...: LLVM's names");
  command
      ->add_option("--gpu", options.gpus,
                   "with --target cuda or rocm: architectures to make code for, sm_90a,sm_80 or gfx942,gfx1100; the "
                   "program takes what fits when it starts")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--schedule", options.schedule,
                      "with --target cuda or rocm: graph (launches captured in a graph), persistent (a decode step is one "
                      "kernel) or auto (default; graph today: nobody has measured which is faster)");
  command->add_option("--matrix-unit", options.matrixUnit,
                      "with --target cuda or rocm, in prefill: mma (a subgroup multiplies by itself), wgmma (sm_90a: four "
                      "together, while they go on) or auto (default; mma today: no device has shown wgmma right and faster)");
  command->add_option("--dependent-launch", options.dependentLaunch,
                      "with --target cuda and launches of a graph: on (sm_90a and later: a kernel begins, and asks memory for its "
                      "weights, while the one before it still runs), off or auto (default; off today, likewise)");
  command->add_option("--dtype", arguments.dtype,
                      "f32, bf16, int8, int4, int4z (with zero points), mxfp4, nvfp4 or fp8: format of the weights "
                      "(default: the checkpoint's); norms, biases and routers stay in floats");
  command->add_option("--dtype-for", arguments.dtypeFor,
                      "PATTERN=FORMAT,...: format of the weights whose tensors the pattern (* and ?) names, for example "
                      "lm_head=int8,*.down_proj=int8; later ones win")
      ->allow_extra_args(false);
  command->add_option("--group-size", options.formats.groupSize,
                      "columns that share a scale in int8, int4 and int4z (default: a row, 64 and 64)")
      ->check(CLI::Range(16, 1024));
  command->add_option("--kv-dtype", arguments.kvDtype,
                      "format of the KV cache: " + cacheFormatNames() + " (default: as --dtype)");
  arguments.maxContextOption =
      command->add_option("--max-context", arguments.maxContext,
                          "positions a sequence can hold (default: max_position_embeddings)");
  command->add_option("--emit", arguments.emit, "where to stop: " + rungNames() + " (default)");
  command->add_flag("--external-weights", options.externalWeights,
                    "put the weights into OUT.weights beside OUT");
  arguments.seedOption = command->add_option("--random-weights", arguments.seed,
                                             "SEED of pseudo-random weights, made when the program starts");
  command->add_flag("--no-tokenizer", options.noTokenizer, "leave tokenizer and chat template out");
  command->add_option("--disable-fusion", options.disabledFusions, "fusions that do not run: " + fusionList())
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--print-after", options.printAfter, "print the program after this pass, or after all");
  command->add_option("-j,--jobs", options.threads, "threads (default: one for each core)")
      ->check(CLI::Range(1, 1024));
  command->add_flag("-v,--verbose", options.verbose, "say what is done, and how long it takes");
  return command;
}

/// The words of the command line as values.
Result<CompileOptions> resolve(const CompileArguments &arguments) {
  CompileOptions options = arguments.options;
  std::optional<ElementType> dtype = parseElementType(arguments.dtype);
  if (!dtype)
    options.formats.dtype = arguments.dtype;
  for (const std::string &rule : arguments.dtypeFor)
    options.formats.dtypeFor += (options.formats.dtypeFor.empty() ? "" : ",") + rule;
  std::optional<CacheFormat> kvDtype = parseCacheFormat(arguments.kvDtype);
  if (!arguments.kvDtype.empty() && !kvDtype)
    return userError("--kv-dtype: expected one of " + cacheFormatNames() + ", found '" + arguments.kvDtype + "'");
  Result<Rung> emit = parseRung(arguments.emit);
  if (!emit)
    return emit.takeError();
  options.dtype = dtype;
  options.kvDtype = kvDtype;
  options.emit = *emit;
  if (arguments.maxContextOption->count())
    options.maxContext = arguments.maxContext;
  if (arguments.seedOption->count())
    options.randomWeights = arguments.seed;
  return options;
}

Status runInspect(const std::string &path, bool json) {
  Result<hf::Description> description = inspect(path);
  if (!description)
    return description.takeError();
  const std::string &text = json ? description->json : description->text;
  if (fwrite(text.data(), 1, text.size(), stdout) != text.size() || fflush(stdout) != 0)
    return userError("cannot write standard output");
  return ok();
}

int report(const Status &status) {
  if (status)
    return 0;
  bool internal = status.error().fault == Error::Fault::Internal;
  fprintf(stderr, "qwench: %s%s\n", internal ? "internal error: " : "", status.error().message.c_str());
  return internal ? 2 : 1;
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app(kAbout, "qwench");
  app.set_version_flag("--version", std::string("qwench ") + kVersion);
  app.require_subcommand(1);
  CompileArguments arguments;
  CLI::App *compileCommand = addCompile(app, arguments);
  std::string inspected;
  bool json = false;
  CLI::App *inspectCommand =
      app.add_subcommand("inspect", "Shows what is in a model directory, or in a compiled program.");
  inspectCommand->footer(kInspectExamples);
  inspectCommand->add_option("PATH", inspected, "model directory, config.json, or compiled program")
      ->required();
  inspectCommand->add_flag("--json", json, "as one JSON object");
  if (argc > 1 && argv[1][0] != '-' && std::string_view(argv[1]) != "compile" &&
      std::string_view(argv[1]) != "inspect") {
    fprintf(stderr, "qwench: expected compile or inspect, found '%s' (qwench --help tells more)\n", argv[1]);
    return 1;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &request) {
    return app.exit(request); // --help, --version
  } catch (const CLI::ParseError &error) {
    fprintf(stderr, "qwench: %s (qwench --help tells more)\n", error.what());
    return 1;
  }
  if (inspectCommand->parsed())
    return report(runInspect(inspected, json));
  (void)compileCommand;
  Result<CompileOptions> options = resolve(arguments);
  if (!options)
    return report(options.takeError());
  Console console(options->verbose);
  return report(compile(*options, console));
}
