// The kernels as calls that XLA's CPU programs make: for numbers of one type,
// DARTS_NUMBER, as programs rarely need two and the compiler takes as long for each.
#include "convolution.h"
#include "depthwise.h"
#include "rectified_conv.h"
#include "separable_back.h"
#include "standardize.h"
#include "sums.h"

namespace ffi = xla::ffi;

namespace darts {
namespace {

// stride down and across, dilation, padding down and across.
using Geometry = ffi::Span<const int64_t>;

ffi::Error wrong(const char* what) { return ffi::Error::InvalidArgument(what); }

// [edge, batch, height, width, channel] of the image and of the outputs; the kernel's
// dimensions begin with [edge, height, width].
Window window_of(ffi::Span<const int64_t> image, ffi::Span<const int64_t> kernel,
                 ffi::Span<const int64_t> output, Geometry g) {
  return {{image[2], kernel[1], g[0], g[2], g[3], output[2]},
          {image[3], kernel[2], g[1], g[2], g[4], output[3]}};
}

const char* const kGuess = "a guess has the shape of the moments";

using Number = DARTS_NUMBER;
constexpr ffi::DataType kType =
    sizeof(Number) == 4 ? ffi::DataType::F32 : ffi::DataType::F64;
using Array = ffi::Buffer<kType>;

enum class Of { kOutput, kInput, kKernel };

// Depthwise: kernel [edge, height, width, channel].
template <Of of>
ffi::Error depthwise_call(ffi::ThreadPool pool, Array a, Array b,
                          ffi::Result<Array> result, Geometry g) {
  const auto as = a.dimensions(), bs = b.dimensions(), rs = result->dimensions();
  if (as.size() != 5 || g.size() != 5) return wrong("five dimensions are wanted");
  if constexpr (of == Of::kKernel) {
    depthwise_kernel(pool, a.typed_data(), b.typed_data(), as[0], as[1], as[4],
                     window_of(as, rs, bs, g), result->typed_data());
  } else {
    constexpr bool backward = of == Of::kInput;
    const Window window = backward ? window_of(rs, bs, as, g) : window_of(as, bs, rs, g);
    depthwise(pool, a.typed_data(), b.typed_data(), as[0], as[1], as[4], window, backward,
              result->typed_data());
  }
  return ffi::Error::Success();
}

// Dense: kernel [edge, height, width, in, out].
template <Of of>
ffi::Error conv_call(ffi::ThreadPool pool, Array a, Array b,
                     ffi::Result<Array> result, Geometry g) {
  const auto as = a.dimensions(), bs = b.dimensions(), rs = result->dimensions();
  if (as.size() != 5 || g.size() != 5) return wrong("five dimensions are wanted");
  if constexpr (of == Of::kKernel) {
    conv_kernel(pool, a.typed_data(), b.typed_data(), as[0], as[1], as[4], bs[4],
                window_of(as, rs, bs, g), result->typed_data());
  } else {
    constexpr bool backward = of == Of::kInput;
    const Window window = backward ? window_of(rs, bs, as, g) : window_of(as, bs, rs, g);
    const Course course = backward ? Course::back(window) : Course::forward(window);
    conv(pool, a.typed_data(), b.typed_data(), as[0], as[1], as[4], rs[4], course,
         result->typed_data());
  }
  return ffi::Error::Success();
}

// x [edge, ..., channel], other as x or as the result -> [edge, 2, channel].
template <bool of_moments>
ffi::Error sums_call(ffi::ThreadPool pool, Array x, Array other,
                     ffi::Result<Array> result) {
  const auto shape = x.dimensions();
  const int64_t edges = shape.front(), channels = shape.back();
  const int64_t pixels = x.element_count() / (edges * channels);
  if (other.element_count() != (of_moments ? result->element_count() : x.element_count()))
    return wrong(of_moments ? kGuess : "two arrays of one shape are wanted");
  const auto sums = of_moments ? moments<Number> : channel_sums<Number>;
  sums(pool, x.typed_data(), other.typed_data(), edges, pixels, channels, result->typed_data());
  return ffi::Error::Success();
}

// t and y [edge, ..., channel], scale [edge, channel] -> as t.
ffi::Error project_call(ffi::ThreadPool pool, Array t, Array y, Array scale,
                        ffi::Result<Array> result) {
  const auto shape = t.dimensions();
  const int64_t edges = shape.front(), channels = shape.back();
  project(pool, t.typed_data(), y.typed_data(), scale.typed_data(), edges,
          int64_t(t.element_count()) / (edges * channels), channels,
          result->typed_data());
  return ffi::Error::Success();
}

// x [edge, ..., channel], moments [edge, 2, channel], weight [edge, channel].
Weighted<Number> weighted_of(Array x, Array moments, Array weight, double epsilon) {
  const auto shape = x.dimensions();
  const int64_t edges = shape.front(), channels = shape.back();
  return {x.typed_data(),
          moments.typed_data(),
          weight.typed_data(),
          edges,
          int64_t(x.element_count()) / (edges * channels),
          channels,
          Number(epsilon)};
}

// Tangents and cotangents of moments are nothing: they are constants.
void nothing(ffi::Result<Array> array) {
  std::fill_n(array->typed_data(), array->element_count(), Number(0));
}

ffi::Error weighted_change_call(ffi::ThreadPool pool, Array x_change, Array,
                                Array weight_change, Array x, Array moments, Array weight,
                                ffi::Result<Array> y, double epsilon) {
  weighted_change(pool, weighted_of(x, moments, weight, epsilon), x_change.typed_data(),
                  weight_change.typed_data(), y->typed_data());
  return ffi::Error::Success();
}

ffi::Error weighted_back_call(ffi::ThreadPool pool, Array t, Array x, Array moments,
                              Array weight, ffi::Result<Array> x_back,
                              ffi::Result<Array> moments_back,
                              ffi::Result<Array> weight_back, double epsilon) {
  weighted_back(pool, weighted_of(x, moments, weight, epsilon), t.typed_data(),
                x_back->typed_data(), weight_back->typed_data());
  nothing(moments_back);
  return ffi::Error::Success();
}

ffi::Error weighted_back_change_call(ffi::ThreadPool pool, Array t_change, Array x_change,
                                     Array, Array weight_change, Array t, Array x,
                                     Array moments, Array weight,
                                     ffi::Result<Array> x_back,
                                     ffi::Result<Array> moments_back,
                                     ffi::Result<Array> weight_back, double epsilon) {
  weighted_back_change(pool, weighted_of(x, moments, weight, epsilon), t.typed_data(),
                       t_change.typed_data(), x_change.typed_data(),
                       weight_change.typed_data(),
                       x_back->typed_data(), weight_back->typed_data());
  nothing(moments_back);
  return ffi::Error::Success();
}

// Of kernels, whose images may be fewer.
Edges edges_of(Array x, Array kernel) {
  const int64_t edges = kernel.dimensions()[0];
  return {edges, edges / x.dimensions()[0]};
}

// x, depthwise kernel, pointwise kernel [edge, 1, 1, in, out]; the output's dimensions.
Separable<Number> separable_of(Array x, Array depthwise, Array pointwise,
                               ffi::Span<const int64_t> output, Geometry g) {
  const auto xs = x.dimensions();
  return {x.typed_data(),
          depthwise.typed_data(),
          pointwise.typed_data(),
          edges_of(x, pointwise),
          xs[1],
          xs[4],
          pointwise.dimensions()[4],
          window_of(xs, depthwise.dimensions(), output, g)};
}

ffi::Error separable_call(ffi::ThreadPool pool, Array x, Array depthwise, Array pointwise,
                          Array guess, ffi::Result<Array> y, ffi::Result<Array> moments,
                          Geometry g) {
  if (guess.element_count() != moments->element_count()) return wrong(kGuess);
  separable(pool, separable_of(x, depthwise, pointwise, y->dimensions(), g),
            guess.typed_data(), y->typed_data(), moments->typed_data());
  return ffi::Error::Success();
}

ffi::Error separable_change_call(ffi::ThreadPool pool, Array x_change,
                                 Array depthwise_change, Array pointwise_change, Array x,
                                 Array depthwise, Array pointwise, ffi::Result<Array> y,
                                 Geometry g) {
  separable_change(pool, separable_of(x, depthwise, pointwise, y->dimensions(), g),
                   {x_change.typed_data(), depthwise_change.typed_data(),
                    pointwise_change.typed_data()},
                   y->typed_data());
  return ffi::Error::Success();
}

ffi::Error separable_back_call(ffi::ThreadPool pool, Array y, Array x, Array depthwise,
                               Array pointwise, ffi::Result<Array> x_back,
                               ffi::Result<Array> depthwise_back,
                               ffi::Result<Array> pointwise_back, Geometry g) {
  separable_back(pool, separable_of(x, depthwise, pointwise, y.dimensions(), g),
                 y.typed_data(), x_back->typed_data(), depthwise_back->typed_data(),
                 pointwise_back->typed_data());
  return ffi::Error::Success();
}

ffi::Error separable_back_change_call(
    ffi::ThreadPool pool, Array y_change, Array x_change, Array depthwise_change,
    Array pointwise_change, Array y, Array x, Array depthwise, Array pointwise,
    ffi::Result<Array> x_back, ffi::Result<Array> depthwise_back,
    ffi::Result<Array> pointwise_back, Geometry g) {
  separable_back_change(pool, separable_of(x, depthwise, pointwise, y.dimensions(), g),
                        y.typed_data(), y_change.typed_data(),
                        {x_change.typed_data(), depthwise_change.typed_data(),
                         pointwise_change.typed_data()},
                        x_back->typed_data(), depthwise_back->typed_data(),
                        pointwise_back->typed_data());
  return ffi::Error::Success();
}

ffi::Error separable_image_back_call(ffi::ThreadPool pool, Array y, Array x,
                                     Array depthwise, Array pointwise,
                                     ffi::Result<Array> x_back, Geometry g) {
  separable_image_back(pool, separable_of(x, depthwise, pointwise, y.dimensions(), g),
                       y.typed_data(), x_back->typed_data());
  return ffi::Error::Success();
}

ffi::Error separable_image_back_change_call(
    ffi::ThreadPool pool, Array y_change, Array x_change, Array depthwise_change,
    Array pointwise_change, Array y, Array x, Array depthwise, Array pointwise,
    ffi::Result<Array> x_back, Geometry g) {
  separable_image_back_change(
      pool, separable_of(x, depthwise, pointwise, y.dimensions(), g), y.typed_data(),
      y_change.typed_data(),
      {x_change.typed_data(), depthwise_change.typed_data(), pointwise_change.typed_data()},
      x_back->typed_data());
  return ffi::Error::Success();
}

RectifiedConv<Number> rectified_of(Array x, Array kernel, ffi::Span<const int64_t> output,
                                   Geometry g) {
  const auto xs = x.dimensions(), ks = kernel.dimensions();
  return {x.typed_data(), kernel.typed_data(), edges_of(x, kernel), xs[1], xs[4], ks[4],
          window_of(xs, ks, output, g)};
}

ffi::Error rectified_conv_call(ffi::ThreadPool pool, Array x, Array kernel, Array guess,
                               ffi::Result<Array> y, ffi::Result<Array> moments,
                               Geometry g) {
  if (guess.element_count() != moments->element_count()) return wrong(kGuess);
  rectified_conv(pool, rectified_of(x, kernel, y->dimensions(), g), guess.typed_data(),
                 y->typed_data(), moments->typed_data());
  return ffi::Error::Success();
}

ffi::Error rectified_conv_change_call(ffi::ThreadPool pool, Array x_change,
                                      Array kernel_change, Array x, Array kernel,
                                      ffi::Result<Array> y, Geometry g) {
  rectified_conv_change(pool, rectified_of(x, kernel, y->dimensions(), g),
                        x_change.typed_data(), kernel_change.typed_data(),
                        y->typed_data());
  return ffi::Error::Success();
}

ffi::Error rectified_conv_back_call(ffi::ThreadPool pool, Array y, Array x, Array kernel,
                                    ffi::Result<Array> x_back,
                                    ffi::Result<Array> kernel_back, Geometry g) {
  rectified_conv_back(pool, rectified_of(x, kernel, y.dimensions(), g), y.typed_data(),
                      x_back->typed_data(), kernel_back->typed_data());
  return ffi::Error::Success();
}

ffi::Error rectified_conv_back_change_call(ffi::ThreadPool pool, Array y_change,
                                           Array x_change, Array kernel_change, Array y,
                                           Array x, Array kernel,
                                           ffi::Result<Array> x_back,
                                           ffi::Result<Array> kernel_back, Geometry g) {
  rectified_conv_back_change(pool, rectified_of(x, kernel, y.dimensions(), g),
                             y.typed_data(), y_change.typed_data(),
                             x_change.typed_data(), kernel_change.typed_data(),
                             x_back->typed_data(), kernel_back->typed_data());
  return ffi::Error::Success();
}

ffi::Error rectified_conv_image_back_call(ffi::ThreadPool pool, Array y, Array x,
                                          Array kernel, ffi::Result<Array> x_back,
                                          Geometry g) {
  rectified_conv_back<Number>(pool, rectified_of(x, kernel, y.dimensions(), g),
                              y.typed_data(), x_back->typed_data(), nullptr);
  return ffi::Error::Success();
}

ffi::Error rectified_conv_image_back_change_call(ffi::ThreadPool pool, Array y_change,
                                                 Array x_change, Array kernel_change,
                                                 Array y, Array x, Array kernel,
                                                 ffi::Result<Array> x_back, Geometry g) {
  rectified_conv_back_change<Number>(
      pool, rectified_of(x, kernel, y.dimensions(), g), y.typed_data(),
      y_change.typed_data(), x_change.typed_data(), kernel_change.typed_data(),
      x_back->typed_data(), nullptr);
  return ffi::Error::Success();
}

}  // namespace

// A call of so many arrays with so many results; with a window, or without.
#define DARTS_1(kind) .kind<Array>()
#define DARTS_2(kind) DARTS_1(kind) DARTS_1(kind)
#define DARTS_3(kind) DARTS_2(kind) DARTS_1(kind)
#define DARTS_4(kind) DARTS_2(kind) DARTS_2(kind)
#define DARTS_6(kind) DARTS_3(kind) DARTS_3(kind)
#define DARTS_7(kind) DARTS_4(kind) DARTS_3(kind)
#define DARTS_8(kind) DARTS_4(kind) DARTS_4(kind)
#define DARTS_BIND(arrays, results) \
  ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() DARTS_##arrays(Arg) DARTS_##results(Ret)
#define DARTS_SUMS(name, function, arrays, results) \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, (function), DARTS_BIND(arrays, results))
#define DARTS_WINDOW(name, function, arrays, results) \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                      \
      name, (function), DARTS_BIND(arrays, results).Attr<Geometry>("geometry"))
#define DARTS_WEIGHTED(name, function, arrays, results) \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                        \
      name, (function), DARTS_BIND(arrays, results).Attr<double>("epsilon"))

DARTS_WINDOW(darts_depthwise, depthwise_call<Of::kOutput>, 2, 1);
DARTS_WINDOW(darts_depthwise_input, depthwise_call<Of::kInput>, 2, 1);
DARTS_WINDOW(darts_depthwise_kernel, depthwise_call<Of::kKernel>, 2, 1);
DARTS_WINDOW(darts_conv, conv_call<Of::kOutput>, 2, 1);
DARTS_WINDOW(darts_conv_input, conv_call<Of::kInput>, 2, 1);
DARTS_WINDOW(darts_conv_kernel, conv_call<Of::kKernel>, 2, 1);
DARTS_WINDOW(darts_separable, separable_call, 4, 2);
DARTS_WINDOW(darts_separable_change, separable_change_call, 6, 1);
DARTS_WINDOW(darts_separable_back, separable_back_call, 4, 3);
DARTS_WINDOW(darts_separable_back_change, separable_back_change_call, 8, 3);
DARTS_WINDOW(darts_rectified_conv, rectified_conv_call, 3, 2);
DARTS_WINDOW(darts_rectified_conv_change, rectified_conv_change_call, 4, 1);
DARTS_WINDOW(darts_rectified_conv_back, rectified_conv_back_call, 3, 2);
DARTS_WINDOW(darts_rectified_conv_back_change, rectified_conv_back_change_call, 6, 2);
DARTS_WINDOW(darts_separable_image_back, separable_image_back_call, 4, 1);
DARTS_WINDOW(darts_separable_image_back_change, separable_image_back_change_call, 8, 1);
DARTS_WINDOW(darts_rectified_conv_image_back, rectified_conv_image_back_call, 3, 1);
DARTS_WINDOW(darts_rectified_conv_image_back_change, rectified_conv_image_back_change_call,
             6, 1);
DARTS_SUMS(darts_moments, sums_call<true>, 2, 1);
DARTS_SUMS(darts_channel_sums, sums_call<false>, 2, 1);
DARTS_SUMS(darts_project, project_call, 3, 1);
DARTS_WEIGHTED(darts_weighted_change, weighted_change_call, 6, 1);
DARTS_WEIGHTED(darts_weighted_back, weighted_back_call, 4, 3);
DARTS_WEIGHTED(darts_weighted_back_change, weighted_back_change_call, 8, 3);

}  // namespace darts
