// The program around a compiled model: reads the command line, runs one subcommand, reports its error.
#include "runtime/app/app.h"
#include "runtime/app/terminal.h"

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <new>

namespace {

using namespace qwench;

/// "NAME: error: ..." on stderr; the exit code says whose fault it is.
int report(const Error &error) {
  fprintf(stderr, "%s: error: %s\n", program_invocation_short_name, error.message.c_str());
  return error.fault == Error::Fault::User ? 1 : 2;
}

/// CLI11's messages begin with a capital letter and may have several lines.
Error commandLineError(const CLI::ParseError &error) {
  std::string message = error.what();
  for (char &c : message)
    c = c == '\n' ? ' ' : c;
  while (!message.empty() && (message.back() == ' ' || message.back() == '.'))
    message.pop_back();
  if (message.size() > 1 && islower(static_cast<unsigned char>(message[1])))
    message[0] = static_cast<char>(tolower(static_cast<unsigned char>(message[0])));
  return userError(message + " (see --help)");
}

void describe(CLI::App &app) {
  app.name(program_invocation_short_name);
  app.description(std::string(qwench_program.name) + ", compiled by Qwench. Without a subcommand: chat.");
  app.footer("Examples:\n"
             "  NAME                                    talk to the model\n"
             "  NAME run -n 64 \"Why is the sky blue?\"   one answer\n"
             "  NAME generate --tokens 1,2,3 -n 16 --greedy --ids\n"
             "  NAME bench -p 512 -n 128 --json");
  app.require_subcommand(0, 1);
  app.set_help_all_flag("--help-all", "help of all subcommands");
}

int dispatch(int argc, char **argv) {
  CLI::App app;
  app::Command chosen;
  describe(app);
  app::addChat(app, chosen);
  app::addRun(app, chosen);
  app::addGenerate(app, chosen);
  app::addLogits(app, chosen);
  app::addTokenize(app, chosen);
  app::addTemplate(app, chosen);
  app::addPerplexity(app, chosen);
  app::addBench(app, chosen);
  app::addInfo(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &) {
    std::string text = app.help();
    for (size_t at; (at = text.find("NAME ")) != std::string::npos;)
      text.replace(at, 4, program_invocation_short_name);
    Status status = app::writeOut(text);
    return status ? 0 : report(status.error());
  } catch (const CLI::CallForAllHelp &) {
    Status status = app::writeOut(app.help("", CLI::AppFormatMode::All));
    return status ? 0 : report(status.error());
  } catch (const CLI::ParseError &error) {
    return report(commandLineError(error));
  }
  Status status = chosen();
  return status ? 0 : report(status.error());
}

} // namespace

int main(int argc, char **argv) {
  try {
    return dispatch(argc, argv);
  } catch (const std::bad_alloc &) {
    return report(userError("out of memory"));
  } catch (const std::exception &error) {
    return report(internalError(error.what()));
  }
}
