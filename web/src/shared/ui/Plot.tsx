import { useComputedColorScheme } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface BarsProps {
  /** What the plot shows, in words, for those who cannot see it. */
  label: string;
  /** Unix seconds of the beginning of each bar, evenly spaced. */
  times: readonly number[];
  /** Stacked from the bottom up. */
  series: readonly { label: string; colour: string; values: readonly number[] }[];
  height?: number;
}

/** Reads a colour of the theme, such as --rf-accent. */
function themeColour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Stacked bars over time, drawn on a canvas. */
export function Bars({ label, times, series, height = 210 }: BarsProps) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const target = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme();
  useEffect(() => {
    if (width < 80 || target.current === null) return undefined;
    const plot = new uPlot(options(width, height, times, series), stack(times, series), target.current);
    return () => plot.destroy();
    // The scheme counts: the canvas holds colours, not variables.
  }, [width, height, times, series, scheme]);
  return (
    <div ref={ref} role="img" aria-label={label}>
      <div ref={target} style={{ height }} />
    </div>
  );
}

export interface AreasProps {
  label: string;
  /** Unix seconds, evenly spaced. */
  times: readonly number[];
  /** Stacked from the bottom up; null is a gap. */
  series: readonly { label: string; colour: string; values: readonly (number | null)[] }[];
  height?: number;
}

/** Stacked areas over time. Where nobody measured, nothing is drawn. */
export function Areas({ label, times, series, height = 230 }: AreasProps) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const target = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme();
  useEffect(() => {
    if (width < 80 || target.current === null) return undefined;
    const sums: (number | null)[][] = [];
    series.forEach((s, i) => sums.push(s.values.map((v, k) => (v === null ? null : v + (sums[i - 1]?.[k] ?? 0)))));
    const plot = new uPlot(areaOptions(width, height, times, series), [[...times], ...sums.reverse()], target.current);
    return () => plot.destroy();
  }, [width, height, times, series, scheme]);
  return (
    <div ref={ref} role="img" aria-label={label}>
      <div ref={target} style={{ height }} />
    </div>
  );
}

function areaOptions(width: number, height: number, times: readonly number[], series: AreasProps['series']): uPlot.Options {
  const basis = options(width, height, times, []);
  const long = (times.at(-1) ?? 0) - (times[0] ?? 0) > 2 * 86_400;
  const stepped = uPlot.paths.stepped!({ align: 1 });
  const [x, y] = basis.axes!;
  return {
    ...basis,
    axes: [
      { ...x, values: (_u, splits) => splits.map(long ? day : hour) },
      { ...y, size: 52, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 1_000_000], values: (_u, splits) => splits.map((n) => n.toLocaleString()) },
    ],
    series: [
      {},
      ...[...series].reverse().map((s) => ({ label: s.label, fill: themeColour(s.colour), width: 0, paths: stepped, points: { show: false }, spanGaps: false })),
    ],
  };
}

function day(unix: number): string {
  return new Date(unix * 1000).toLocaleDateString(undefined, { day: 'numeric', month: 'short' });
}

/** Sums upwards; the tallest comes first so that lower ones are painted over it. */
function stack(times: readonly number[], series: BarsProps['series']): uPlot.AlignedData {
  const sums: number[][] = [];
  series.forEach((s, i) => sums.push(s.values.map((v, k) => v + (sums[i - 1]?.[k] ?? 0))));
  return [[...times], ...sums.reverse()];
}

function options(width: number, height: number, times: readonly number[], series: BarsProps['series']): uPlot.Options {
  const ink = themeColour('--mantine-color-dimmed');
  const line = themeColour('--rf-line');
  const font = '12px "Inter Variable", system-ui, sans-serif';
  const bars = uPlot.paths.bars!({ size: [0.62, 26], radius: 0.25 });
  const axis = { stroke: ink, font, ticks: { show: false }, border: { show: false } };
  const step = (times[1] ?? 0) - (times[0] ?? 0);
  return {
    width,
    height,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 4, 0, 0],
    scales: {
      x: { time: true, range: () => [(times[0] ?? 0) - step / 2, (times.at(-1) ?? 0) + step / 2] },
      y: { range: (_u, _min, max) => [0, Math.max(4, Math.ceil(max * 1.1))] },
    },
    axes: [
      { ...axis, grid: { show: false }, space: 56, size: 28, values: (_u, splits) => splits.map(hour) },
      { ...axis, grid: { stroke: line, width: 1 }, size: 34, space: 36, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] },
    ],
    series: [
      {},
      ...[...series].reverse().map((s) => ({ label: s.label, fill: themeColour(s.colour), width: 0, paths: bars, points: { show: false } })),
    ],
  };
}

function hour(unix: number): string {
  return new Date(unix * 1000).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' });
}
