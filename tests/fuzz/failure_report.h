// Says which input a program was working on when it crashed, hung or took too much memory.
#ifndef LONGTAKE_TESTS_FUZZ_FAILURE_REPORT_H_
#define LONGTAKE_TESTS_FUZZ_FAILURE_REPORT_H_

#include <string>

namespace longtake::fuzz {

// From here on a fatal signal, or a sanitizer's report, prints the input that was set last and ends the program with
// exit status 1. Call once, at the start.
void ReportFailures();

// The input that is worked on from now on, for at most a minute of processor time: unlike a clock's minute it does not
// depend on what else the machine does. Both texts outlive the next call.
void SetInput(const std::string& name, const std::string& bytes);

// Ends the program with a report if its memory has grown by more than 256 MiB since the call of ReportFailures.
void CheckMemory();

}  // namespace longtake::fuzz

#endif  // LONGTAKE_TESTS_FUZZ_FAILURE_REPORT_H_
