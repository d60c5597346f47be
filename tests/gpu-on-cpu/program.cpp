#include "tests/gpu-on-cpu/program.h"

#include "compiler/emit/codegen.h"
#include "compiler/target/gpu/passes.h"
#include "compiler/target/gpu/properties.h"
#include "passes/plan/plan.h"
#include "tests/gpu-on-cpu/lower.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/TargetParser/Host.h"

#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;

namespace qwench::gpu_on_cpu {

namespace {

/// 64-byte aligned memory whose every byte is `fill` at first.
class Memory {
public:
  Memory() = default;
  Memory(uint64_t bytes, int fill) : bytes(bytes), data(static_cast<uint8_t *>(aligned_alloc(256, (bytes + 256) / 256 * 256))) {
    std::memset(data.get(), fill, bytes);
  }
  uint8_t *get() const { return data.get(); }
  Range range(bool writable) const { return {data.get(), bytes, writable}; }
  uint64_t bytes = 0;

private:
  struct Free {
    void operator()(uint8_t *p) const { free(p); }
  };
  std::unique_ptr<uint8_t, Free> data;
};

/// Blocks of a cooperative kernel: several, and fewer than most launches have tiles.
constexpr int64_t kTogether = 3;

using Entry = void (*)(const QwenchStep *step, int64_t layer, int64_t instance, void *team);

std::string hostFeatures() {
  std::string flags;
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    flags += (flags.empty() ? "" : ",") + std::string(feature.second ? "+" : "-") + feature.first().str();
  return flags;
}

} // namespace

struct Program::Code {
  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::vector<LaunchShape> shapes;
  std::vector<Kernel> kernels;
  Entry prefill = nullptr, decode = nullptr, sample = nullptr; // sample: where the module has one
  bool draws = false;
  Executor executor;
  qwen::PlanAttr plan;
  int64_t vocabulary = 0, logitsStride = 0, capacity = 0;
  Memory weights, arena, cache, logits;
  const QwenchStep *step = nullptr;
  uint32_t arrived = 0; ///< where the blocks of a cooperative kernel meet

  Status pack(ModuleOp planned, const pack::TensorSource &source);
  Status emit(ModuleOp planned, const gpu::Device &device, gpu::Schedule schedule);
  Status compile(ModuleOp module);
  Status find();
};

/// What lowered host functions call; the team is the program's code.
static void launch(void *team, int64_t kernel, int64_t tiles, int64_t layer, int64_t instance) {
  auto &code = *static_cast<Program::Code *>(team);
  // Fewer blocks than tiles, sometimes: blocks take several then.
  int64_t blocks = tiles > 3 ? tiles - tiles / 3 : tiles;
  const LaunchShape &shape = code.shapes[kernel];
  code.arrived = 0;
  code.executor.launch(code.kernels[kernel], shape, code.step, layer, instance, tiles, shape.cooperative ? kTogether : blocks);
}

Status Program::Code::pack(ModuleOp planned, const pack::TensorSource &source) {
  Result<pack::PackPlan> packing = pack::planPacking(planned, source);
  if (!packing)
    return packing.takeError();
  Result<uint64_t> bytes = pack::sectionBytes(planned);
  if (!bytes)
    return bytes.takeError();
  int file = memfd_create("weights", 0);
  if (file < 0 || ftruncate(file, static_cast<off_t>(*bytes)) != 0)
    return internalError("cannot make a file for weights");
  pack::PackOptions options;
  options.descriptor = file;
  Status packed = pack::runPacking(*packing, source, options);
  weights = Memory(*bytes, 0xff);
  bool whole = pread(file, weights.get(), *bytes, 0) == static_cast<ssize_t>(*bytes);
  close(file);
  return packed && !whole ? internalError("cannot read packed weights") : packed;
}

Status Program::Code::compile(ModuleOp module) {
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream stream(object);
  std::string cpu = llvm::sys::getHostCPUName().str();
  if (Status emitted = generateCode(module, {"x86_64-unknown-linux-gnu", cpu, cpu, hostFeatures()}, CodegenOutput::Object, stream);
      !emitted)
    return emitted;
  auto made = llvm::orc::LLJITBuilder().create();
  if (!made)
    return internalError("cannot make a JIT: " + llvm::toString(made.takeError()));
  jit = std::move(*made);
  auto &library = jit->getMainJITDylib();
  llvm::orc::SymbolMap symbols;
  auto define = [&](const char *name, void *address) {
    symbols[jit->mangleAndIntern(name)] = {llvm::orc::ExecutorAddr::fromPtr(address), llvm::JITSymbolFlags::Exported};
  };
  for (const Function &function : functions())
    define(function.name, function.address);
  define("qwench_device_launch", reinterpret_cast<void *>(gpu_on_cpu::launch));
  llvm::cantFail(library.define(llvm::orc::absoluteSymbols(symbols)));
  library.addGenerator(llvm::cantFail(llvm::orc::DynamicLibrarySearchGenerator::GetForCurrentProcess('\0')));
  auto buffer = llvm::MemoryBuffer::getMemBufferCopy({object.data(), object.size()}, "kernels");
  if (auto error = jit->addObjectFile(std::move(buffer)))
    return internalError("cannot load kernels: " + llvm::toString(std::move(error)));
  return find();
}

Status Program::Code::find() {
  auto address = [&](const std::string &name) -> void * {
    auto found = jit->lookup(name);
    if (found)
      return found->toPtr<void *>();
    llvm::errs() << llvm::toString(found.takeError()) << "\n";
    return nullptr;
  };
  for (const LaunchShape &shape : shapes)
    kernels.push_back(reinterpret_cast<Kernel>(address(shape.name)));
  prefill = reinterpret_cast<Entry>(address("prefill"));
  decode = reinterpret_cast<Entry>(address("decode"));
  if (draws)
    sample = reinterpret_cast<Entry>(address("sample"));
  return prefill && decode && !llvm::is_contained(kernels, nullptr) ? ok() : internalError("a compiled kernel is missing");
}

Status Program::Code::emit(ModuleOp planned, const gpu::Device &device, gpu::Schedule schedule) {
  draws = planned.lookupSymbol("sample") != nullptr;
  PassManager emission(planned.getContext());
  emission.addPass(gpu::createToKernelsPass({device}, schedule));
  emission.addPass(createCanonicalizerPass());
  emission.addPass(createCSEPass());
  gpu::addSchedulePasses(emission, {device}, schedule);
  if (failed(emission.run(planned)))
    return internalError("cannot emit kernels");
  Result<std::vector<LaunchShape>> lowered = lower(planned, device.subgroupSize);
  if (!lowered)
    return lowered.takeError();
  shapes = lowered.take();
  return compile(planned);
}

Program::Program() : code(std::make_unique<Code>()) {}
Program::~Program() = default;

Result<std::unique_ptr<Program>> Program::create(ModuleOp fused, const gpu::Device &device, const pack::TensorSource &source,
                                                 int64_t slots, int64_t capacity, gpu::Schedule schedule) {
  std::unique_ptr<Program> program(new Program());
  Code &code = *program->code;
  OwningOpRef<ModuleOp> module = fused.clone();
  if (Status supported = gpu::supports(*module, "GPUs"); !supported)
    return supported.takeError();
  PassManager planning(module->getContext());
  buildPlanPipeline(planning, gpu::properties(device.matrix == gpu::MatrixUnit::Wgmma), {"test", capacity});
  if (failed(planning.run(*module)))
    return internalError("cannot plan");
  if (Status packed = code.pack(*module, source); !packed)
    return packed.takeError();
  code.plan = (*module)->getAttrOfType<qwen::PlanAttr>("qwen.plan");
  auto facts = (*module)->getAttrOfType<DictionaryAttr>("qwen.program");
  code.vocabulary = facts.getAs<IntegerAttr>("vocab_size").getInt();
  code.logitsStride = facts.getAs<IntegerAttr>("logits_stride").getInt();
  if (Status emitted = code.emit(*module, device, schedule); !emitted)
    return emitted.takeError();
  code.capacity = llvm::alignTo(capacity, code.plan.getCacheGranule());
  code.arena = Memory(code.plan.getArenaBytes() + code.plan.getThreadScratchBytes(), 0xff);
  code.cache = Memory(slots * code.capacity * code.plan.getCacheBytesPerPosition(), 0);
  code.logits = Memory(std::max(code.plan.getPrefillRows(), code.plan.getDecodeRows()) * code.logitsStride * 4, 0xff);
  return program;
}

Result<std::unique_ptr<Program>> Program::createPlanned(ModuleOp planned, const gpu::Device &device) {
  std::unique_ptr<Program> program(new Program());
  OwningOpRef<ModuleOp> module = planned.clone();
  if (Status emitted = program->code->emit(*module, device, gpu::Schedule::Graph); !emitted)
    return emitted.takeError();
  return program;
}

int64_t Program::decodeRows() const { return code->plan.getDecodeRows(); }

Status Program::run(const QwenchStep &step, std::vector<Range> memory, bool decode) {
  code->executor.setMemory(std::move(memory));
  code->step = &step;
  (decode ? code->decode : code->prefill)(&step, 0, 0, code.get());
  return code->executor.error().empty() ? ok() : internalError(code->executor.error());
}

Result<std::vector<int32_t>> Program::sample(const std::vector<QwenchDraw> &draws, const std::vector<float> &logits,
                                             int64_t vocabulary) {
  if (!code->sample)
    return internalError("expected an entry @sample");
  const int64_t rows = static_cast<int64_t>(logits.size()) / vocabulary, stride = gpu::properties().rowStride(vocabulary, 4);
  Memory memory(rows * stride * 4, 0xff);
  for (int64_t row = 0; row < rows; ++row)
    std::memcpy(memory.get() + row * stride * 4, logits.data() + row * vocabulary, vocabulary * 4);
  std::vector<int32_t> drawn(draws.size());
  QwenchStep step = {};
  step.rows = static_cast<int64_t>(draws.size());
  step.logits = reinterpret_cast<float *>(memory.get()), step.draws = draws.data(), step.drawn = drawn.data();
  code->executor.setMemory({memory.range(false),
                            {reinterpret_cast<const uint8_t *>(draws.data()), draws.size() * sizeof(QwenchDraw), false},
                            {reinterpret_cast<const uint8_t *>(drawn.data()), drawn.size() * sizeof(int32_t), true}});
  code->step = &step;
  code->sample(&step, 0, 0, code.get());
  if (!code->executor.error().empty())
    return internalError(code->executor.error());
  return drawn;
}

Result<std::vector<float>> Program::forward(const evaluator::BatchRows &batch, bool decode) {
  QwenchStep step = {};
  step.tokens = batch.tokens.data(), step.positions = batch.positions.data(), step.slots = batch.slots.data();
  step.context_lengths = batch.contextLengths.data(), step.output_rows = batch.outputRows.data();
  step.rows = static_cast<int64_t>(batch.rows()), step.outputs = static_cast<int64_t>(batch.outputRows.size());
  step.cache_capacity = code->capacity;
  step.team = reinterpret_cast<QwenchTeam *>(&code->arrived);
  step.arena = code->arena.get(), step.weights = code->weights.get(), step.cache = code->cache.get();
  step.logits = reinterpret_cast<float *>(code->logits.get());
  std::vector<Range> ranges{code->arena.range(true), code->weights.range(false), code->cache.range(true), code->logits.range(true)};
  for (const auto *list : {&batch.tokens, &batch.positions, &batch.slots, &batch.contextLengths, &batch.outputRows})
    ranges.push_back({reinterpret_cast<const uint8_t *>(list->data()), list->size() * 4, false});
  if (Status ran = run(step, std::move(ranges), decode); !ran)
    return ran.takeError();
  std::vector<float> logits;
  for (int64_t row = 0; row < step.outputs; ++row)
    logits.insert(logits.end(), step.logits + row * code->logitsStride, step.logits + row * code->logitsStride + code->vocabulary);
  return logits;
}

} // namespace qwench::gpu_on_cpu
