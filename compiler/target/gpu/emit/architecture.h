// What a GPU architecture has. Each backend has one table of those it makes code for.
#pragma once

#include "compiler/target/gpu/device.h"
#include "runtime/abi/result.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <string>
#include <vector>

namespace qwench::gpu {

/// The largest tile that one instruction of the matrix unit multiplies: C[m, n] += A[m, k] B[k, n].
struct MatrixShape {
  llvm::StringLiteral type; ///< of A and B: "bf16", "i8", "f8E4M3FN", "f4E2M1FN"
  int m, n, k;
};

enum class Fp8 { None, Ocp, Fnuz }; ///< the kind of E4M3 and E5M2 that the machine converts and multiplies

struct Architecture {
  llvm::StringLiteral name;                 ///< as --gpu and LLVM call it
  int subgroupSize;                         ///< lanes
  int sharedBytes;                          ///< most workgroup memory of a block
  int staticSharedBytes;                    ///< of it, without asking the driver for more
  int registers;                            ///< most 32-bit registers of a thread
  int maxThreads;                           ///< of a block
  bool asyncCopy;                           ///< global to workgroup memory past the registers
  bool tensorCopy;                          ///< by descriptor (TMA)
  bool cluster;                             ///< blocks that share workgroup memory
  Fp8 fp8;
  MatrixUnit matrix;                        ///< the one that the kernels use
  llvm::ArrayRef<MatrixShape> matrixShapes;

  Device device() const { return {name.str(), subgroupSize, staticSharedBytes, matrix}; }
};

/// The architectures of those names, without repetition, in the order given. An unknown one, or none, is an error that
/// lists the table.
Result<std::vector<const Architecture *>> chooseArchitectures(llvm::ArrayRef<Architecture> table,
                                                              llvm::ArrayRef<std::string> names);

} // namespace qwench::gpu
