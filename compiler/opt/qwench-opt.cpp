// qwench-opt: mlir-opt with the qwen dialect and every pass of Qwench.
#include "compiler/opt/Interpret.h"
#include "compiler/opt/target_pipelines.h"
#include "dialects/Qwen.h"
#include "passes/Pipelines.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  mlir::registerAllPasses();
  qwench::registerQwenchPasses();
  qwench::registerInterpretPass();
  qwench::registerTargetPipelines();
  registry.insert<qwench::qwen::QwenDialect>();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "Qwench optimizer driver\n", registry));
}
