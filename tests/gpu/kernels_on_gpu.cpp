// Kernels on the first GPU of this machine. What a test has in memory of the host is copied there before a run, and what may be
// written back after it.
#include "compiler/jit/loaded_program.h"
#include "runtime/device/device.h"
#include "tests/gpu-on-cpu/kernels.h"
#include "tests/gpu/first_gpu.h"

#include <cstring>

namespace qwench::gpu_test {

namespace {

constexpr uint64_t kAlignment = 256; // of each range on the device

constexpr uint64_t aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

class KernelsOnGpu : public Kernels {
public:
  static Result<std::unique_ptr<Kernels>> create(mlir::ModuleOp planned, const Target &target) {
    Result<std::unique_ptr<LoadedProgram>> loaded = LoadedProgram::load(planned, target, launch);
    if (!loaded)
      return loaded.takeError();
    std::unique_ptr<KernelsOnGpu> kernels(new KernelsOnGpu());
    kernels->loaded = loaded.take();
    Result<std::unique_ptr<Device>> device = Device::open(*kernels->loaded->program().device);
    if (!device)
      return device.takeError();
    kernels->device = device.take();
    return std::unique_ptr<Kernels>(std::move(kernels));
  }

  Status run(Entry entry, const QwenchStep &step, const std::vector<Range> &memory) override {
    const QwenchProgram &program = loaded->program();
    QwenchStepFunction functions[] = {program.prefill, program.decode, program.sample}; // in Entry's order
    QwenchStepFunction function = functions[static_cast<int>(entry)];
    if (!function)
      return internalError("expected a module with the entry @sample");
    if (Status status = place(memory); !status)
      return status;
    QwenchStep there = step;
    if (Status status = translate(there); !status)
      return status;
    if (Status status = upload(there); !status)
      return status;
    QwenchStep host = step;
    host.team = reinterpret_cast<QwenchTeam *>(this); // launch() takes it back
    afterLaunch = false;
    function(&host, 0, 1);
    return failure ? download() : std::exchange(failure, ok());
  }

private:
  struct Placed {
    Range range;
    DeviceAddress at;
  };

  KernelsOnGpu() = default;

  static void launch(QwenchTeam *team, int64_t kernel, int64_t tiles, int64_t layer, int64_t instance) {
    auto &self = *reinterpret_cast<KernelsOnGpu *>(team);
    void *parameters[] = {&self.room, &layer, &instance, &tiles}; // the step is the first thing there
    if (self.failure && tiles)
      self.failure = self.device->launch(kernel, static_cast<uint32_t>(blocksFor(tiles)), parameters,
                                          std::exchange(self.afterLaunch, true));
  }

  /// Gives each range a place on the device, behind the step.
  Status place(const std::vector<Range> &memory) {
    uint64_t bytes = aligned(sizeof(QwenchStep));
    for (const Range &range : memory)
      bytes += aligned(range.bytes);
    if (Status status = device->use(); !status)
      return status;
    if (bytes > roomBytes) {
      Result<DeviceAddress> taken = device->allocate(bytes);
      if (!taken)
        return taken.takeError();
      room = *taken, roomBytes = bytes;
    }
    placed.clear();
    DeviceAddress at = room + aligned(sizeof(QwenchStep));
    for (const Range &range : memory) {
      placed.push_back({range, at});
      at += aligned(range.bytes);
    }
    return ok();
  }

  /// Pointers of the step become those to where their memory is on the device.
  Status translate(QwenchStep &step) {
    bool found = true;
    auto move = [&](auto *&pointer) {
      const auto *host = reinterpret_cast<const uint8_t *>(pointer);
      auto holds = [&](const Placed &p) {
        return host == p.range.begin || (host > p.range.begin && host < p.range.begin + p.range.bytes);
      };
      auto place = std::find_if(placed.begin(), placed.end(), holds);
      found &= !host || place != placed.end();
      if (host && place != placed.end())
        pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(place->at + (host - place->range.begin));
    };
    move(step.tokens), move(step.positions), move(step.slots), move(step.context_lengths), move(step.output_rows);
    move(step.arena), move(step.weights), move(step.cache), move(step.logits), move(step.team), move(step.draws), move(step.drawn);
    return found ? ok() : internalError("expected what a step points to in the memory that is given with it");
  }

  Status upload(const QwenchStep &step) {
    if (Status status = device->upload(room, &step, sizeof step); !status)
      return status;
    for (const Placed &p : placed)
      if (Status status = device->upload(p.at, p.range.begin, p.range.bytes); !status)
        return status;
    return device->synchronize(); // the step goes
  }

  Status download() {
    for (const Placed &p : placed)
      if (p.range.writable)
        if (Status status = device->download(const_cast<uint8_t *>(p.range.begin), p.at, p.range.bytes); !status)
          return status;
    return device->synchronize();
  }

  std::unique_ptr<LoadedProgram> loaded; // goes after the device, whose images it holds
  std::unique_ptr<Device> device;
  DeviceAddress room = 0;
  uint64_t roomBytes = 0;
  std::vector<Placed> placed;
  Status failure = ok();    // of launches of the step at hand
  bool afterLaunch = false; // whether it has had one
};

} // namespace

bool sumsKeepTheirOrder() { return false; }

std::string missingFor(const gpu::Device &device) {
  const Gpu gpu = firstGpu();
  if (gpu.missing.empty() && device.matrix == gpu::MatrixUnit::Wgmma && gpu.arch != "sm_90a")
    return "wgmma: expected an sm_90a, found " + gpu.arch;
  if (gpu.missing.empty() && device.dependentLaunches && !hasDependentLaunches(gpu))
    return "dependent launches: expected an sm_90a or later, found " + gpu.arch;
  return gpu.missing;
}

Result<std::unique_ptr<Kernels>> emitKernels(mlir::ModuleOp planned, const gpu::Device &device, gpu::Schedule schedule) {
  const Gpu gpu = firstGpu();
  TargetOptions options;
  options.gpus = {gpu.arch};
  options.schedule = schedule == gpu::Schedule::Persistent ? "persistent" : "graph";
  options.matrixUnit = device.matrix == gpu::MatrixUnit::Wgmma ? "wgmma" : "mma";
  options.dependentLaunch = device.dependentLaunches ? "on" : "off";
  Result<std::unique_ptr<Target>> target = createTarget(gpu.api, options);
  return target ? KernelsOnGpu::create(planned, **target) : Result<std::unique_ptr<Kernels>>(target.takeError());
}

} // namespace qwench::gpu_test
