// Source: AMD's instruction set guides of CDNA 2, 3 and 4 and of RDNA 3, 3.5 and 4. A wave of CDNA has 512 vector registers
// a lane, the accumulation registers among them; one of RDNA 256.
#include "compiler/target/rocm/architectures.h"

#include "llvm/ADT/STLExtras.h"

namespace qwench::rocm {

using gpu::Architecture;
using gpu::Fp8;
using gpu::MatrixShape;
using enum gpu::MatrixUnit;

namespace {

constexpr int kShared = 64 << 10, kThreads = 1024;

constexpr MatrixShape kCdna2[] = {{"bf16", 32, 32, 8}, {"f16", 32, 32, 8}, {"i8", 32, 32, 8}};
constexpr MatrixShape kCdna3[] = {{"bf16", 32, 32, 8}, {"f16", 32, 32, 8}, {"i8", 32, 32, 16}, {"f8E4M3FNUZ", 32, 32, 16}};
constexpr MatrixShape kCdna4[] = {{"bf16", 32, 32, 16}, {"f16", 32, 32, 16}, {"i8", 32, 32, 32},
                                  {"f8E4M3FN", 32, 32, 64}, {"f4E2M1FN", 32, 32, 64}};
constexpr MatrixShape kRdna3[] = {{"bf16", 16, 16, 16}, {"f16", 16, 16, 16}, {"i8", 16, 16, 16}};
constexpr MatrixShape kRdna4[] = {{"bf16", 16, 16, 16}, {"f16", 16, 16, 16}, {"i8", 16, 16, 16}, {"f8E4M3FN", 16, 16, 16}};

constexpr Architecture kTable[] = {
    // name, subgroup, shared, static, registers, threads, asyncCopy, tensorCopy, cluster, fp8, unit, shapes
    {"gfx90a", 64, kShared, kShared, 512, kThreads, false, false, false, Fp8::None, Mfma, kCdna2},
    {"gfx942", 64, kShared, kShared, 512, kThreads, false, false, false, Fp8::Fnuz, Mfma, kCdna3},
    {"gfx950", 64, 160 << 10, kShared, 512, kThreads, true, false, false, Fp8::Ocp, Mfma, kCdna4},
    {"gfx1100", 32, kShared, kShared, 256, kThreads, false, false, false, Fp8::None, Wmma11, kRdna3},
    {"gfx1151", 32, kShared, kShared, 256, kThreads, false, false, false, Fp8::None, Wmma11, kRdna3},
    {"gfx1201", 32, kShared, kShared, 256, kThreads, false, false, false, Fp8::Ocp, Wmma12, kRdna4},
};

} // namespace

llvm::ArrayRef<Architecture> architectures() { return kTable; }

const Architecture *findArchitecture(llvm::StringRef name) {
  const auto *found = llvm::find_if(kTable, [&](const Architecture &entry) { return entry.name == name; });
  return found == std::end(kTable) ? nullptr : found;
}

} // namespace qwench::rocm
