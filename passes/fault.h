// Whose fault it is that a pass fails: what a diagnostic says besides its text.
#pragma once

#include "mlir/IR/Diagnostics.h"

namespace qwench {

inline constexpr llvm::StringLiteral kUserFault = "user-fault";

/// The diagnostic, marked as the user's: what it refuses is an option, whoever wrote the module.
inline mlir::InFlightDiagnostic markUserFault(mlir::InFlightDiagnostic diagnostic) {
  diagnostic.getUnderlyingDiagnostic()->getMetadata().push_back(mlir::DiagnosticArgument(kUserFault));
  return diagnostic;
}

/// Whether it is marked so.
inline bool isUserFault(mlir::Diagnostic &diagnostic) {
  return llvm::any_of(diagnostic.getMetadata(), [](const mlir::DiagnosticArgument &argument) {
    return argument.getKind() == mlir::DiagnosticArgument::DiagnosticArgumentKind::String &&
           argument.getAsString() == kUserFault;
  });
}

} // namespace qwench
