#include "launcher/plan/sum_work.h"

namespace ballast {
namespace {

constexpr double kElementBytes = 4.0;

}  // namespace

double SumWork::coding(double elements, double code) const {
  const double added_before = parts > subtrees ? 2.0 * subtrees : 0.0;  // written, then read to be coded
  return elements * kElementBytes * (parts + added_before + (errors ? 2.0 * subtrees : 0.0)) + code * subtrees;
}

double SumWork::before_sending(double elements, double code) const {
  if (coded) return coding(elements, code);
  return parts > subtrees ? elements * kElementBytes * (parts + subtrees) : 0.0;
}

double SumWork::in_the_end(double elements, double code, double others) const {
  const double addends = (coded ? subtrees : parts) + others;
  const double added = elements * kElementBytes * (addends + (addends > 1.0 ? 1.0 : 0.0));
  if (!coded) return added;
  // All codes are read and what they stand for is written.
  return coding(elements, code) + (code + elements * kElementBytes) * addends + added;
}

}  // namespace ballast
