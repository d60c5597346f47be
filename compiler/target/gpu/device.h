// What the shared lowering asks of a GPU. Properties, never identities; the tables of architectures are the backends'.
#pragma once

#include <cstdint>
#include <string>

namespace qwench::gpu {

/// Bytes. Each workgroup memory starts at a multiple of them and is a whole number of them: LLVM may read as many at once, where
/// the last few of them are asked for.
constexpr int64_t kSharedGranule = 16;

/// What multiplies matrices of bf16 into f32, 16 rows by 16 inputs at a time.
enum class MatrixUnit {
  None,
  MmaSync, ///< NVIDIA's mma.sync, 8 columns, from sm_80 on
  Mfma,    ///< CDNA's v_mfma_f32_16x16x16 of 64 lanes
  Wmma11,  ///< RDNA 3's v_wmma of 32 lanes, which both halves of a subgroup give the operands of
  Wmma12,  ///< RDNA 4's
  Wgmma,   ///< MmaSync, and products of four subgroups together that go on beside them (warpgroup_unit.h): sm_90a's
};

/// How a step's launches run on a GPU.
enum class Schedule {
  Graph,     ///< each a kernel; those of a decode step are captured in a graph
  Persistent ///< a decode step is one kernel, whose blocks meet between launches
};

/// What a kernel whose blocks meet asks of a device.
struct GridTraits {
  const char *scope = "";    ///< LLVM's name of that in which all threads synchronise
  bool eachReleases = false; ///< a block's barrier does not wait for its threads' stores: each must release them to the device
  const char *threadRegister = "r"; ///< inline assembly's letter for a register of which each thread has its own
  bool prefetches = true;    ///< whether memref.prefetch is an instruction that any thread may give any address
};

struct Device {
  std::string moduleName = "kernels"; ///< of the gpu.module that holds this device's kernels
  int64_t subgroupSize = 32;          ///< lanes that shuffles and subgroup reductions join: 32 or 64
  MatrixUnit matrix = MatrixUnit::None;
  bool asyncCopies = false;       ///< of 16 bytes to workgroup memory, in groups that a thread waits for
  bool dependentLaunches = false; ///< kernels begin while launches before them still run, and wait for those themselves
  int64_t sharedBytes = 48 << 10; ///< workgroup memory that a block can have
  int64_t loadsAhead = 8; ///< 16-byte loads of a thread that its registers hold beside what it computes with them
  GridTraits grid;
};

} // namespace qwench::gpu
