/* Continues token ids with a compiled model: greedy COUNT WEIGHTS|- ID...
 *
 * WEIGHTS is a file of `qwench compile --emit weights`; with - they are in the file that the model's code came from,
 * as with --emit shared. Prints the new ids with commas between, as `OUT generate --greedy --ids` does. */
#include "qwench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what) {
  fprintf(stderr, "greedy: %s: %s\n", what, qwench_last_error());
  return 1;
}

/* Prints `count` tokens that follow the sequence. */
static int continue_sequence(QwenchSession *session, int count) {
  const QwenchSampling greedy = QWENCH_SAMPLING_GREEDY;
  for (int i = 0; i < count; i++) {
    int32_t next;
    if (qwench_sample(session, 0, &greedy, &next))
      return fail("sample");
    printf(i ? ",%d" : "%d", next);
    if (i + 1 < count && qwench_decode(session, 0, next))
      return fail("decode");
  }
  printf("\n");
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: greedy COUNT WEIGHTS|- ID...\n");
    return 1;
  }
  const int count = atoi(argv[1]), prompt = argc - 3;
  int32_t *ids = malloc(sizeof *ids * (size_t)prompt);
  if (!ids)
    return 1;
  for (int i = 0; i < prompt; i++)
    ids[i] = atoi(argv[3 + i]);

  QwenchOptions options = QWENCH_OPTIONS_INIT;
  options.context = prompt + count;
  if (strcmp(argv[2], "-"))
    options.bundle = argv[2];
  QwenchSession *session;
  if (qwench_open(&options, &session))
    return fail("open");
  int status = qwench_prefill(session, 0, ids, prompt) ? fail("prefill") : continue_sequence(session, count);
  qwench_close(session);
  free(ids);
  return status;
}
