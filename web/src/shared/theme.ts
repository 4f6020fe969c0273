import {
  Button,
  createTheme,
  Drawer,
  InputWrapper,
  Menu,
  Modal,
  Notification,
  Tooltip,
  type CSSVariablesResolver,
  type MantineColorsTuple,
} from '@mantine/core';
import { common } from '../texts/common';

/** The one accent. Shade 7 carries white text at 7:1. */
const iris: MantineColorsTuple = [
  '#eff0ff', '#dfe1fb', '#bcc0f3', '#979eec', '#7881e5', '#646ee1', '#5a64df', '#4549b8', '#3d41a6', '#313589',
];

/** Greys with a breath of blue; `dark` is what Mantine paints dark surfaces with. */
const gray: MantineColorsTuple = [
  '#f8f8fa', '#f2f2f5', '#e7e8ec', '#d8dae0', '#c0c3cc', '#9a9eab', '#737886', '#575c69', '#3b3f4a', '#1d2027',
];
const dark: MantineColorsTuple = [
  '#e6e7eb', '#c9ccd4', '#a3a8b5', '#7a8090', '#3a3f4b', '#2a2e37', '#1d2027', '#16181d', '#101216', '#0b0c0f',
];

export const theme = createTheme({
  primaryColor: 'iris',
  primaryShade: { light: 7, dark: 7 },
  colors: { iris, gray, dark },
  fontFamily: '"Inter Variable", system-ui, -apple-system, "Segoe UI", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "Liberation Mono", monospace',
  defaultRadius: 'md',
  radius: { xs: '4px', sm: '6px', md: '8px', lg: '12px', xl: '20px' },
  fontSizes: { xs: '12px', sm: '13.5px', md: '15px', lg: '17px', xl: '20px' },
  headings: {
    fontFamily: '"Inter Variable", system-ui, sans-serif',
    fontWeight: '620',
    sizes: {
      h1: { fontSize: '24px', lineHeight: '1.25' },
      h2: { fontSize: '17px', lineHeight: '1.35' },
      h3: { fontSize: '15px', lineHeight: '1.4' },
    },
  },
  cursorType: 'pointer',
  focusRing: 'auto',
  components: {
    Button: Button.extend({ defaultProps: { fw: 550 } }),
    InputWrapper: InputWrapper.extend({ defaultProps: { inputWrapperOrder: ['label', 'input', 'description', 'error'] } }),
    Tooltip: Tooltip.extend({ defaultProps: { withArrow: true, openDelay: 250, events: { hover: true, focus: true, touch: true } } }),
    // The placeholder it would focus is no legal child of a menu.
    Menu: Menu.extend({ defaultProps: { withInitialFocusPlaceholder: false } }),
    Notification: Notification.extend({ defaultProps: { closeButtonProps: { 'aria-label': common.close } } }),
    Modal: Modal.extend({ defaultProps: { centered: true, overlayProps: { backgroundOpacity: 0.45 } } }),
    Drawer: Drawer.extend({ defaultProps: { position: 'right', overlayProps: { backgroundOpacity: 0.3 } } }),
  },
});

/** Colours the style sheets share; each text tone has at least 4.5:1 on its ground. */
export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-body': '#ffffff',
    '--mantine-color-text': '#1b1d24',
    '--mantine-color-dimmed': '#5a5f6c',
    '--mantine-color-placeholder': '#6a6f7d',
    '--mantine-color-anchor': '#4549b8',
    '--mantine-color-error': '#b42332',
    '--mantine-color-default-border': '#cfd2da',
    '--rf-canvas': '#f6f6f8',
    '--rf-surface': '#ffffff',
    '--rf-raised': '#fafafb',
    '--rf-line': '#e5e6eb',
    '--rf-line-strong': '#d3d5dc',
    '--rf-hover': '#f3f3f6',
    '--rf-accent': '#4549b8',
    '--rf-accent-ink': '#3d41a6',
    '--rf-accent-wash': '#eef0fe',
    '--rf-ok': '#12805c',
    '--rf-ok-wash': '#e5f5ee',
    '--rf-warn': '#8f5700',
    '--rf-warn-dot': '#d98a00',
    '--rf-warn-wash': '#fdf3dd',
    '--rf-bad': '#b42332',
    '--rf-bad-wash': '#fdecee',
    '--rf-idle': '#9499a6',
    '--rf-shadow': '0 1px 2px rgb(20 22 30 / 4%)',
  },
  dark: {
    '--mantine-color-body': '#16181d',
    '--mantine-color-text': '#e8e9ed',
    '--mantine-color-dimmed': '#a3a8b5',
    '--mantine-color-placeholder': '#8b91a0',
    '--mantine-color-anchor': '#aab0ff',
    '--mantine-color-error': '#ff8b94',
    '--mantine-color-default-border': '#343944',
    '--rf-canvas': '#0e0f13',
    '--rf-surface': '#16181d',
    '--rf-raised': '#1b1e24',
    '--rf-line': '#262a33',
    '--rf-line-strong': '#363b47',
    '--rf-hover': '#1e2128',
    '--rf-accent': '#8b92f5',
    '--rf-accent-ink': '#b5baff',
    '--rf-accent-wash': '#20233f',
    '--rf-ok': '#4fd1a1',
    '--rf-ok-wash': '#12291f',
    '--rf-warn': '#f5be5b',
    '--rf-warn-dot': '#f0ad3a',
    '--rf-warn-wash': '#2c2313',
    '--rf-bad': '#ff8b94',
    '--rf-bad-wash': '#351a1f',
    '--rf-idle': '#737988',
    '--rf-shadow': 'none',
  },
});
