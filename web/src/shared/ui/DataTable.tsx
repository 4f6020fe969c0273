import { ActionIcon, Button, CloseButton, Menu, Skeleton, TextInput, Tooltip } from '@mantine/core';
import { useDebouncedValue, useLocalStorage } from '@mantine/hooks';
import { IconArrowDown, IconArrowUp, IconColumns3, IconDownload, IconSearch } from '@tabler/icons-react';
import {
  columnFilteringFeature,
  columnVisibilityFeature,
  createFilteredRowModel,
  createSortedRowModel,
  globalFilteringFeature,
  rowSortingFeature,
  tableFeatures,
  useTable,
  type ColumnDef,
  type RowData,
} from '@tanstack/react-table';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useMemo, useRef, useState, type ReactNode } from 'react';
import { common } from '../../texts/common';
import { csv, download } from '../csv';
import type { Problem } from '../problems';
import css from './DataTable.module.css';
import { Empty } from './Empty';
import { ProblemNotice } from './Notice';

type Value = string | number | null;

/** One column: `value` is what is sorted, searched and exported, `cell` what is shown. */
export interface Column<Row> {
  id: string;
  header: string;
  value: (row: Row) => Value;
  cell?: (row: Row) => ReactNode;
  /** Numbers stand at the end. */
  end?: boolean;
  /** Hidden until chosen in the column menu. */
  hidden?: boolean;
  /** Takes the room that is left. */
  grow?: boolean;
  sortable?: boolean;
}

interface DataTableProps<Row> {
  /** Names the list to listeners, and its settings and file in this browser. */
  name: string;
  /** What a row is, for the count: "extensions". */
  noun: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[] | undefined;
  rowKey: (row: Row) => string;
  problem?: Problem | null;
  /** Shown when there are no rows at all. */
  empty: ReactNode;
  initialSort?: { id: string; desc: boolean };
  onRow?: (row: Row) => void;
  /** Buttons at the end of each row. */
  rowActions?: (row: Row) => ReactNode;
  /** Filters of the page, beside the search field. */
  filters?: ReactNode;
  /** A bare table: no search, columns, count. */
  plain?: boolean;
  footer?: ReactNode;
  /** The search of a list the server pages finds only what is loaded; then say so. */
  searchHint?: string;
}

const features = tableFeatures({
  columnFilteringFeature,
  columnVisibilityFeature,
  globalFilteringFeature,
  rowSortingFeature,
  filteredRowModel: createFilteredRowModel(),
  sortedRowModel: createSortedRowModel(),
});

const rowHeight = 45;
/** Beyond this many rows only the visible ones are drawn. */
const virtualFrom = 150;
const none: readonly never[] = [];

/** Compares numbers as numbers and texts as people do; nothing stands last. */
function compare(a: Value, b: Value): number {
  if (a === b) return 0;
  if (a === null || a === '') return 1;
  if (b === null || b === '') return -1;
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true, sensitivity: 'base' });
}

/** The one table of the portal. */
export function DataTable<Row extends RowData>(props: DataTableProps<Row>) {
  const { name, columns, rows, rowKey, plain = false } = props;
  const [search, setSearch] = useState('');
  const [query] = useDebouncedValue(search.trim(), 80);
  const [visibility, setVisibility] = useLocalStorage<Record<string, boolean>>({
    key: `ringfence-columns-${name}`,
    defaultValue: Object.fromEntries(columns.filter((c) => c.hidden).map((c) => [c.id, false])),
    getInitialValueInEffect: false,
  });
  const defs = useMemo(
    () =>
      columns.map(
        (c): ColumnDef<typeof features, Row> => ({
          id: c.id,
          header: c.header,
          accessorFn: c.value,
          enableSorting: c.sortable !== false,
          sortFn: (a, b) => compare(c.value(a.original), c.value(b.original)),
          sortDescFirst: false,
        }),
      ),
    [columns],
  );
  const table = useTable({
    features,
    columns: defs,
    data: rows ?? none,
    getRowId: rowKey,
    state: { globalFilter: query, columnVisibility: visibility },
    initialState: { sorting: props.initialSort ? [props.initialSort] : [] },
    onColumnVisibilityChange: (update) => setVisibility((old) => (typeof update === 'function' ? update(old) : update)),
    getColumnCanGlobalFilter: () => true,
    globalFilterFn: (row, columnId, wanted: string) => {
      const value = row.getValue<Value>(columnId);
      return value !== null && String(value).toLowerCase().includes(wanted.toLowerCase());
    },
    enableSortingRemoval: false,
  });
  const shown = table.getRowModel().rows;
  const byID = useMemo(() => new Map(columns.map((c) => [c.id, c])), [columns]);

  const save = () => {
    const visible = columns.filter((c) => visibility[c.id] !== false);
    const text = csv(
      visible.map((c) => c.header),
      shown.map((r) => visible.map((c) => c.value(r.original))),
    );
    download(`${name}.csv`, 'text/csv', text);
  };

  const hasRows = rows !== undefined && rows.length > 0;
  return (
    <div className={css.root} data-list={name}>
      {!plain && (
        <div className={css.bar}>
          <TextInput
            className={css.search}
            aria-label={`${common.search}: ${props.noun}`}
            placeholder={props.searchHint ?? common.search}
            leftSection={<IconSearch size={16} />}
            rightSection={search !== '' && <CloseButton size="sm" aria-label={common.clear} onClick={() => setSearch('')} />}
            value={search}
            onChange={(e) => setSearch(e.currentTarget.value)}
          />
          {props.filters}
          <div className={css.tools}>
            {hasRows && (
              <span className={`${css.count} tabular`} role="status">
                {common.rows(shown.length, rows.length, props.noun)}
              </span>
            )}
            <Tooltip label={common.downloadCSV}>
              <ActionIcon variant="default" size={36} aria-label={common.downloadCSV} disabled={!hasRows} onClick={save}>
                <IconDownload size={17} />
              </ActionIcon>
            </Tooltip>
            <ColumnMenu columns={columns} visibility={visibility} onChange={setVisibility} />
          </div>
        </div>
      )}
      {props.problem && (
        <div className={css.problem}>
          <ProblemNotice problem={props.problem} />
        </div>
      )}
      {rows === undefined && !props.problem && <Loading />}
      {rows !== undefined && rows.length === 0 && !props.problem && props.empty}
      {hasRows && shown.length === 0 && (
        <Empty
          icon={<IconSearch size={22} />}
          title={common.noMatch(query)}
          action={
            <Button variant="default" onClick={() => setSearch('')}>
              {common.clear}
            </Button>
          }
        >
          {common.noMatchHint}
        </Empty>
      )}
      {shown.length > 0 && (
        <Rows
          name={name}
          shown={shown.map((r) => ({ id: r.id, row: r.original }))}
          columns={columns.filter((c) => visibility[c.id] !== false)}
          sorted={(id) => table.getColumn(id)?.getIsSorted() || false}
          onSort={plain ? undefined : (id) => table.getColumn(id)?.toggleSorting()}
          sortable={(id) => byID.get(id)?.sortable !== false}
          onRow={props.onRow}
          rowActions={props.rowActions}
        />
      )}
      {props.footer}
    </div>
  );
}

interface RowsProps<Row> {
  name: string;
  shown: readonly { id: string; row: Row }[];
  columns: readonly Column<Row>[];
  sorted: (id: string) => false | 'asc' | 'desc';
  sortable: (id: string) => boolean;
  onSort: ((id: string) => void) | undefined;
  onRow: ((row: Row) => void) | undefined;
  rowActions: ((row: Row) => ReactNode) | undefined;
}

function Rows<Row>({ name, shown, columns, sorted, sortable, onSort, onRow, rowActions }: RowsProps<Row>) {
  const frame = useRef<HTMLDivElement>(null);
  const virtual = shown.length >= virtualFrom;
  const window = useVirtualizer({
    count: shown.length,
    getScrollElement: () => frame.current,
    estimateSize: () => rowHeight,
    overscan: 12,
    enabled: virtual,
  });
  const drawn = window.getVirtualItems();
  const visible = virtual ? drawn.map((v) => shown[v.index]!) : shown;
  const above = virtual ? (drawn[0]?.start ?? 0) : 0;
  const below = virtual ? window.getTotalSize() - (drawn.at(-1)?.end ?? 0) : 0;
  const width = columns.length + (rowActions ? 1 : 0);
  return (
    // A frame that scrolls can be reached by keyboard.
    <div className={css.frame} data-virtual={virtual || undefined} ref={frame} tabIndex={virtual ? 0 : undefined}>
      <table className={css.table} aria-label={name} aria-rowcount={shown.length + 1}>
        <thead>
          <tr>
            {columns.map((c) => (
              <HeadCell key={c.id} column={c} sorted={sorted(c.id)} onSort={onSort && sortable(c.id) ? () => onSort(c.id) : undefined} />
            ))}
            {rowActions && (
              <th>
                <span className="visually-hidden">Actions</span>
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {above > 0 && <Spacer height={above} width={width} />}
          {visible.map(({ id, row }) => (
            <tr key={id} data-row={id} data-clickable={onRow ? true : undefined} onClick={onRow && (() => onRow(row))}>
              {columns.map((c, i) => (
                <td key={c.id} data-label={c.header} data-end={c.end || undefined} data-grow={c.grow || undefined}>
                  {i === 0 && onRow ? (
                    // The row's own button, for keyboards and listeners; clicks anywhere in the row do the same.
                    <button type="button" className={css.rowButton} onClick={(e) => (e.stopPropagation(), onRow(row))}>
                      {c.cell ? c.cell(row) : show(c.value(row))}
                    </button>
                  ) : c.cell ? (
                    c.cell(row)
                  ) : (
                    show(c.value(row))
                  )}
                </td>
              ))}
              {rowActions && (
                <td className={css.actions} onClick={(e) => e.stopPropagation()}>
                  {rowActions(row)}
                </td>
              )}
            </tr>
          ))}
          {below > 0 && <Spacer height={below} width={width} />}
        </tbody>
      </table>
    </div>
  );
}

function show(value: Value): string {
  return value === null || value === '' ? common.none : String(value);
}

function HeadCell<Row>(props: { column: Column<Row>; sorted: false | 'asc' | 'desc'; onSort: (() => void) | undefined }) {
  const { column, sorted, onSort } = props;
  const order = sorted === 'asc' ? 'ascending' : sorted === 'desc' ? 'descending' : undefined;
  const Arrow = sorted === 'desc' ? IconArrowDown : IconArrowUp;
  return (
    <th scope="col" aria-sort={order} data-end={column.end || undefined} data-grow={column.grow || undefined}>
      {onSort ? (
        <button type="button" className={css.sort} data-sorted={sorted || undefined} onClick={onSort} title={common.sortedBy(column.header)}>
          {column.header}
          <Arrow size={14} aria-hidden />
        </button>
      ) : (
        column.header
      )}
    </th>
  );
}

function Spacer({ height, width }: { height: number; width: number }) {
  return (
    <tr aria-hidden className={css.spacer}>
      <td colSpan={width} style={{ height }} />
    </tr>
  );
}

function ColumnMenu<Row>(props: {
  columns: readonly Column<Row>[];
  visibility: Record<string, boolean>;
  onChange: (v: Record<string, boolean>) => void;
}) {
  const { columns, visibility, onChange } = props;
  return (
    <Menu closeOnItemClick={false} position="bottom-end" width={220}>
      <Menu.Target>
        <Tooltip label={common.columns}>
          <ActionIcon variant="default" size={36} aria-label={common.columns}>
            <IconColumns3 size={17} />
          </ActionIcon>
        </Tooltip>
      </Menu.Target>
      <Menu.Dropdown>
        {columns.slice(1).map((c) => {
          const on = visibility[c.id] !== false;
          return (
            <Menu.CheckboxItem key={c.id} checked={on} onChange={(checked) => onChange({ ...visibility, [c.id]: checked })}>
              {c.header}
            </Menu.CheckboxItem>
          );
        })}
      </Menu.Dropdown>
    </Menu>
  );
}

function Loading() {
  return (
    <div className={css.loading} role="status" aria-label={common.loading}>
      {[0.9, 0.75, 0.85, 0.6].map((w) => (
        <Skeleton key={w} height={14} width={`${w * 100}%`} radius="sm" />
      ))}
    </div>
  );
}
