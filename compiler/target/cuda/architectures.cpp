// Source: CUDA C++ Programming Guide 13.0, "Compute Capabilities", and the PTX ISA 9.0, "mma", "ldmatrix", "cp.async".
#include "compiler/target/cuda/architectures.h"

namespace qwench::cuda {

using gpu::Architecture;
using enum gpu::MatrixUnit;

namespace {

/// Bytes of workgroup memory that a kernel has of its own; more would be asked for at its launch.
constexpr int kShared = 48 << 10;

constexpr gpu::GridTraits kGrid = {"device", false, "r", true};

constexpr Architecture kTable[] = {
    {"sm_80", 32, MmaSync, true, kShared, 8, kGrid},   {"sm_86", 32, MmaSync, true, kShared, 8, kGrid},
    {"sm_89", 32, MmaSync, true, kShared, 8, kGrid},   {"sm_90a", 32, MmaSync, true, kShared, 8, kGrid},
    {"sm_100a", 32, MmaSync, true, kShared, 8, kGrid}, {"sm_120", 32, MmaSync, true, kShared, 8, kGrid},
};

} // namespace

llvm::ArrayRef<Architecture> architectures() { return kTable; }

llvm::StringRef baseName(llvm::StringRef name) { return name.rtrim("af"); }

} // namespace qwench::cuda
